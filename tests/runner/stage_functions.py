"""Light stage functions with which real processes are tested, and plans made of them."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from im_bench.errors import ImBenchError
from im_bench.files import read_json, write_json
from im_bench.planning.plan import Cell, Plan
from im_bench.runner.job import Job, StageInterrupted
from im_bench.suites.graph import Graph, Stage
from im_bench.suites.recipes import RECIPES, Recipe
from im_bench.suites.schema import Suite


def add(job: Job) -> dict[str, Any]:
    """Return a number made of config and inputs; works in steps, between which it can stop."""
    with (job.folder / "starts.txt").open("a") as file:
        file.write(f"{os.getpid()} {(job.folder / 'result.json').exists()}\n")
    steps = int(job.config.get("steps", 1))
    for step in range(steps):
        if job.stop_requested:
            raise StageInterrupted
        time.sleep(job.config.get("seconds", 0) / steps)
        job.progress(step + 1, steps, loss=1 / (step + 1), images_per_second=10, eta_s=1)
    inputs = [
        read_json(folder / "result.json")["outcome"]["value"]
        for folders in job.inputs.values()
        for folder in folders
    ]
    return {"value": job.config["value"] + 2 * sum(inputs), "threads": job.settings.threads}


def count(job: Job) -> dict[str, Any]:
    """Fold steps into a number, from the last checkpoint; pause half-way until a file exists."""
    checkpoint = job.folder / "scratch" / "count.json"
    state = read_json(checkpoint) if checkpoint.exists() else {"step": 0, "value": 1}
    with (job.folder / "steps.txt").open("a") as file:
        while state["step"] < job.config["steps"]:
            while (
                state["step"] == job.config["steps"] // 2 and not Path(job.config["gate"]).exists()
            ):
                time.sleep(0.02)
                if job.stop_requested:
                    raise StageInterrupted
            file.write(f"{state['step']}\n")
            file.flush()
            value = (31 * state["value"] + state["step"]) % 1_000_003
            state = {"step": state["step"] + 1, "value": value}
            write_json(checkpoint, state)
    return {"value": state["value"]}


def fail(job: Job) -> dict[str, Any]:
    """Fail as the config says, unless the file that it names exists."""
    if Path(job.config.get("unless", "/nowhere")).exists():
        return {"value": 1}
    raise {
        "user": ImBenchError("the masks are upside down: turn them"),
        "bug": ZeroDivisionError("by zero"),
        "memory": MemoryError(),
        "cuda": type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"),
        "disk": OSError(errno.ENOSPC, "No space left on device", "x.npy"),
        "permission": PermissionError(errno.EACCES, "Permission denied", "x.npy"),
        "interrupted": StageInterrupted(),
        "exit": SystemExit(3),
    }[job.config["how"]]


def falter(job: Job) -> dict[str, Any]:
    """Fail as often as the config says, with what it says, then return."""
    past = len(list(job.folder.glob("error-*.json")))
    if past < job.config["times"]:
        raise {"cuda": RuntimeError("CUDA out of memory"), "bug": ValueError("flaky")}[
            job.config["how"]
        ]
    return {"value": past, "threads": job.settings.threads}


def vanish(job: Job) -> dict[str, Any]:
    """Stand still the first time, as if somebody had stopped the process; then return."""
    if (job.folder / "stood").exists():
        return {"value": 1}
    (job.folder / "stood").touch()
    os.kill(os.getpid(), signal.SIGSTOP)
    raise AssertionError


def die(job: Job) -> dict[str, Any]:
    """End like a process that the system kills."""
    os.kill(os.getpid(), job.config.get("signal", signal.SIGKILL))
    raise AssertionError


def stubborn(job: Job) -> dict[str, Any]:
    """Never look whether to stop."""
    time.sleep(60)
    raise AssertionError


def fill(job: Job) -> dict[str, Any]:
    """Write until the disk is full."""
    with (job.folder / "big.bin").open("wb") as file:
        while True:
            file.write(b"x" * 4096)
            file.flush()


def nothing(job: Job) -> dict[str, Any]:
    """Return what is no outcome."""
    return {"value": float("nan")} if job.config.get("nan") else None  # type: ignore[return-value]


def tell(job: Job) -> dict[str, Any]:
    """Return where it was told to compute."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {"value": 0, "visible": visible, "device": job.settings.device}


def train(job: Job) -> dict[str, Any]:
    """Go through steps that lean on each other, with a checkpoint after each; stop when asked.

    Half-way it waits until the file exists that the config names, if it does.
    ``steps.txt`` tells of each step which process took it, and which Ray node that was on.
    """
    checkpoint = job.folder / "scratch" / "last.json"
    done, value = read_json(checkpoint) if checkpoint.exists() else (0, 1)
    steps, gate = job.config["steps"], job.config.get("gate")
    for step in range(done, steps):
        while step == steps // 2 and gate and not Path(gate).exists() and not job.stop_requested:
            time.sleep(0.01)
            job.progress(step, steps)
        if job.stop_requested:
            raise StageInterrupted
        with (job.folder / "steps.txt").open("a") as file:
            file.write(f"{step} {os.getpid()} {os.environ.get('RAY_RAYLET_PID')}\n")
        time.sleep(job.config["seconds"])
        value = trained(value, step)
        write_json(checkpoint, (step + 1, value))
    return {"value": value}


def trained(value: int, step: int) -> int:
    """Return what one step of the training makes of a value."""
    return (value * 31 + step) % 1_000_003


def slow(job: Job) -> dict[str, Any]:
    """Take longer than any limit; stop when asked if the config says so."""
    while not (job.config.get("listens") and job.stop_requested):
        time.sleep(0.01)
    raise StageInterrupted


#: What the stages here need; the real preloading takes seconds.
LIGHT = ("im_bench.runner.stage", "im_bench.planning.plan")

KINDS = {
    function.__name__: Recipe(f"{__name__}:{function.__name__}", 1)
    for function in (
        *(add, count, fail, falter, vanish, die, stubborn, fill, nothing, tell, train, slow),
    )
}


def register() -> None:
    """Make the functions above kinds of stages, in a process of its own."""
    RECIPES.update(KINDS)


def plan_of(graph: Graph, finals: Mapping[str, Stage], **problems: str) -> Plan:
    """Return a plan whose cells, by method, end in these stages."""
    suite = Suite.model_validate(
        {"name": "test", "data": {"d": {"folder": "d"}}, "methods": {"ldt": None}}
    )
    cells = [
        Cell("d", "0.1", name, name, {1: stage.key}, problems.get(name, ""))
        for name, stage in finals.items()
    ]
    return Plan(suite, Path("test.yaml"), "equal", cells, graph)


def layered_plan(width: int = 3, depth: int = 3, seconds: float = 0.0, steps: int = 1) -> Plan:
    """Return ``width * depth + 2`` stages: a source, layers that lean on each other, a sink."""
    graph = Graph()
    last = [graph.add("add", "source", {"value": 1})]
    for d in range(depth):
        last = [
            graph.add(
                "add",
                f"layer{d}/s{w}",
                {"value": 10 * d + w, "seconds": seconds, "steps": steps},
                {"below": last[w % len(last) :] or last},
            )
            for w in range(width)
        ]
    return plan_of(graph, {"sum": graph.add("add", "sink", {"value": 0}, {"all": last})})
