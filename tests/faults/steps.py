"""Light stages that work in steps, and the journal that proves what ran when.

A stage computes a number from its config and inputs, saves its state after each step and resumes
from it. Whatever it does it first writes into one file for all processes, outside the results
folder, in one call each: the order of its lines is the order of what happened.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from runner.stage_functions import plan_of

from im_bench.files import atomic_path, read_json, write_json
from im_bench.planning.plan import Plan
from im_bench.runner.folder import StageFolder
from im_bench.runner.job import SCRATCH, Job, StageInterrupted
from im_bench.suites.graph import Graph, Stage
from im_bench.suites.recipes import RECIPES, Recipe
from im_bench.training.scalars import append_rows, truncate_rows

MODULUS = 1_000_003
JOURNAL = "FAULTS_JOURNAL"
#: Modules that the stages' processes need; PyTorch is not among them.
LIGHT = ("im_bench.runner.stage", __name__)


def count(job: Job) -> dict[str, Any]:
    """Compute a number in steps, between which the stage can stop and be resumed."""
    folder = StageFolder(job.folder)
    _note(job, "begin", attempt=folder.attempts, done=folder.result() is not None)
    state, rows = job.folder / SCRATCH / "state.json", job.folder / "scalars.jsonl"
    steps, values = job.config["steps"], _inputs(job)
    step, value = 0, job.config["value"] + 2 * sum(values)
    if state.exists():
        step, value = (saved := read_json(state))["step"], saved["value"]
    truncate_rows(rows, step)
    while step < steps:
        if job.stop_requested:
            raise StageInterrupted
        time.sleep(job.config["seconds"])
        step, value = step + 1, advanced(value, step)
        _note(job, "step", step=step)
        append_rows(rows, [{"iter": step, "train/loss": 1 / step}])
        job.progress(step, steps, loss=1 / step)
        write_json(state, {"step": step, "value": value})
    attempt = folder.attempts
    _note(job, "computed", value=value, attempt=attempt)
    with atomic_path(job.folder / "artifact.json") as temporary:
        temporary.write_text(json.dumps({"value": value, "pid": os.getpid()}) + " " * 20_000)
    return {"value": value}


def advanced(value: int, step: int) -> int:
    """Return the value after a step."""
    return (31 * value + step) % MODULUS


def _inputs(job: Job) -> list[int]:
    return [
        read_json(folder / "result.json")["outcome"]["value"]
        for folders in job.inputs.values()
        for folder in folders
    ]


def _note(job: Job, what: str, **more: Any) -> None:
    line = {"what": what, "stage": job.config["slug"], "pid": os.getpid(), **more}
    journal = os.open(os.environ[JOURNAL], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(journal, (json.dumps(line) + "\n").encode())
    os.close(journal)


def register() -> None:
    """Make the stage's function a kind of stage, in a process of its own."""
    RECIPES["count"] = Recipe(f"{__name__}:count", 1)


def make_plan(width: int, depth: int, steps: int, seconds: float) -> Plan:
    """Return ``width * depth + 2`` stages: a source, layers that lean on each other, a sink."""
    register()
    graph = Graph()

    def add(slug: str, value: int, below: list[Stage]) -> Stage:
        config = {"slug": slug, "value": value, "steps": steps, "seconds": seconds}
        return graph.add("count", slug, config, {"below": below} if below else {})

    last = [add("source", 1, [])]
    for d in range(depth):
        last = [add(f"layer{d}/s{w}", 10 * d + w, last[w % len(last) :]) for w in range(width)]
    return plan_of(graph, {"sum": add("sink", 0, last)})


def expected(plan: Plan) -> dict[str, int]:
    """Return the value of each stage, by slug, computed here."""
    found: dict[str, int] = {}
    for stage in plan.graph:  # inputs come first
        below = [found[plan.graph[key].slug] for key in stage.requires]
        value = stage.config["value"] + 2 * sum(below)
        for step in range(stage.config["steps"]):
            value = advanced(value, step)
        found[stage.slug] = value
    return found


def read_journal(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the lines of each stage, in order."""
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    if path.exists():
        for line in map(json.loads, path.read_text().splitlines()):
            lines[line["stage"]].append(line)
    return lines


def check_journal(lines: list[dict[str, Any]], done: int, attempts: int) -> None:
    """Check what a stage's processes did in turn.

    Args:
        lines: What they wrote, in order.
        done: How often the stage may have been done: once, and once more each time that its result
            was destroyed.
        attempts: The attempt that made the result.
    """
    turns = [line["pid"] for line in lines if line["what"] == "begin"]
    order = [line["pid"] for line in lines]
    changes = [pid for pid, before in zip(order, [None, *order], strict=False) if pid != before]
    assert changes == turns, f"ran twice at the same time: {lines}"
    assert not any(line.get("done") for line in lines), f"ran again when it was done: {lines}"
    computed = [line for line in lines if line["what"] == "computed"]
    assert computed, f"was never computed: {lines}"
    assert len({line["value"] for line in computed}) == 1, f"came to different ends: {lines}"
    made = [line for line in computed if line["attempt"] == attempts]
    assert 1 <= len(made) <= done, f"attempt {attempts} made the result, but: {lines}"
    assert computed[-1]["attempt"] == attempts, f"computed again after its result: {lines}"
