"""What the runner adds to its stages: ``python -m benchmarks.speed.runner_overhead``.

Runs 200 stages that sleep for 0.2 s each on two slots, with the process that real stages are forked
from, and compares the time with the ideal: the stages' own time divided by the slots. With
``--start-up``, measures instead how long a stage's process takes until its function is called:
forked from the warm process, and as a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from im_bench.planning.plan import Cell, Plan
from im_bench.runner.engines.base import Task
from im_bench.runner.engines.commands import stage_command
from im_bench.runner.engines.local import LocalEngine
from im_bench.runner.engines.options import LocalOptions
from im_bench.runner.scheduler import run_plan
from im_bench.runner.store import Store
from im_bench.suites.graph import Graph
from im_bench.suites.recipes import RECIPES, Recipe
from im_bench.suites.schema import Suite

SECONDS = 0.2


def sleepers(count: int, seconds: float) -> Plan:
    """Return a plan of so many independent stages."""
    graph = Graph()
    suite = Suite.model_validate(
        {"name": "sleep", "data": {"d": {"folder": "d"}}, "methods": {"ldt": None}}
    )
    cells = []
    for i in range(count):
        stage = graph.add("sleep", f"s{i}", {"i": i, "seconds": seconds})
        cells.append(Cell("d", "0.1", f"m{i}", "", {1: stage.key}))
    return Plan(suite, Path("sleep.yaml"), "equal", cells, graph)


def overhead(count: int, slots: int, folder: Path) -> None:
    """Print the time of a run against the ideal."""
    plan, store = sleepers(count, SECONDS), Store(folder)
    engine = LocalEngine(LocalOptions(slots=slots, device="cpu"))
    run_plan(sleepers(1, 0.0), Store(folder / "warm-up"), engine)  # the server's imports
    began = time.perf_counter()
    summary = run_plan(plan, store, engine)
    seconds = time.perf_counter() - began
    assert len(summary.done) == count
    ideal = count * SECONDS / slots
    print(f"{count} stages of {SECONDS} s on {slots} slots: {seconds:.2f} s, ideal {ideal:.2f} s")
    print(f"ratio {seconds / ideal:.3f}; {1000 * (seconds - ideal) * slots / count:.0f} ms a stage")


def start_up(folder: Path, repeats: int = 7) -> None:
    """Print how long it takes until a stage's function is called."""
    plan, store = sleepers(2 * repeats + 1, 0.0), Store(folder)
    engine = LocalEngine(LocalOptions(slots=1, device="cpu"))
    took: dict[str, list[float]] = {"forked": [], "of its own": []}
    for number, stage in enumerate(plan.graph):
        task = Task(store.prepare(stage, plan.graph))
        began = time.time()
        if number <= repeats:
            engine.start(task)
            engine.wait(60)
        else:
            subprocess.run(stage_command(task.folder.path, "--log"), check=True)
        result = store.result(stage)
        assert result is not None
        if number > 0:  # the first waits for the server's imports
            kind = "forked" if number <= repeats else "of its own"
            took[kind].append(result["outcome"]["began"] - began)
    for kind, seconds in took.items():
        print(f"{kind}: {statistics.median(seconds):.3f} s until the stage's function is called")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", type=int, default=200)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--start-up", action="store_true")
    options = parser.parse_args()
    RECIPES["sleep"] = Recipe("benchmarks.speed.sleeping:sleep", 1)
    with tempfile.TemporaryDirectory() as folder:
        if options.start_up:
            start_up(Path(folder))
        else:
            overhead(options.stages, options.slots, Path(folder))


if __name__ == "__main__":
    main()
