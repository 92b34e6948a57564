"""How planning and scheduling grow with the number of cells.

python -m benchmarks.speed.large_plan --cells 100000 --workers 1000

A suite of drawn data sets and variants of FixMatch is planned, and then scheduled onto simulated
workers: stages that do nothing, in simulated time, with folders in memory. What is measured is the
planner's and the scheduler's own work, and how well the workers are filled.
"""

from __future__ import annotations

import argparse
import heapq
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from im_bench.planning.plan import Plan, make_plan
from im_bench.runner.engines.base import Ended, Task
from im_bench.runner.engines.machine import Machine, Place
from im_bench.runner.folder import StageFolder, Status
from im_bench.runner.scheduler import run_plan
from im_bench.runner.store import Store
from im_bench.suites.graph import Graph, Stage

METHODS = 100


class MemoryFolder(StageFolder):
    """A stage's folder that is only remembered."""

    done = False

    @property
    def status(self) -> Status:
        """Return what is remembered."""
        return Status.DONE if self.done else Status.PLANNED

    def result(self) -> dict[str, Any] | None:
        """Return a result without content, or none."""
        return {} if self.done else None

    def errors(self) -> list[dict[str, Any]]:
        """Return none."""
        return []


class MemoryStore(Store):
    """A results folder that is only remembered."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self.folders: dict[str, MemoryFolder] = {}

    def folder(self, stage: Stage) -> StageFolder:
        """Return the stage's folder."""
        if stage.key not in self.folders:
            self.folders[stage.key] = MemoryFolder(self.stages / stage.folder)
        return self.folders[stage.key]

    def existing(self, stages: Any) -> list[Stage]:
        """Return none: the store begins empty."""
        return []

    def make(self) -> None:
        """Do nothing."""

    def prepare(self, stage: Stage, graph: Graph) -> StageFolder:
        """Return the stage's folder."""
        return self.folder(stage)


class SimulatedEngine:
    """Workers whose stages take simulated time."""

    def __init__(self, workers: int) -> None:
        self.machine = Machine(0, 1, workers, workers, memory=1e9)
        self.random = random.Random(0)
        self.now = 0.0
        self.work = 0.0
        self.running: list[tuple[float, int, Task, Place]] = []
        self.started = 0

    @property
    def busy(self) -> bool:
        """Whether any worker is busy."""
        return bool(self.running)

    def fits(self, task: Task) -> bool:
        """Return whether a worker is free."""
        return self.machine.find(task) is not None

    def reserve(self, task: Task | None) -> None:
        """Keep a worker free."""
        self.machine.reserve(task)

    def start(self, task: Task) -> None:
        """Occupy a worker for a random time."""
        seconds = self.random.uniform(1, 100)
        self.work += seconds
        self.started += 1
        item = (self.now + seconds, self.started, task, self.machine.take(task))
        heapq.heappush(self.running, item)

    def wait(self, timeout: float) -> list[Ended]:
        """Go on to the moment when the next stage ends."""
        self.now, _, task, place = heapq.heappop(self.running)
        self.machine.release(place)
        task.folder.done = True  # type: ignore[attr-defined]
        return [Ended(task.folder, 0)]

    def terminate(self) -> None:
        """Do nothing."""

    def kill(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def large_plan(cells: int, folder: Path) -> Plan:
    """Plan a suite of so many cells."""
    suite = {
        "name": "large",
        "seeds": [1],
        "budget": "equal",
        "data": {
            f"d{i}": {"synth": {"like": "isic2018", "seed": i}, "size": [64, 64]}
            for i in range(cells // METHODS)
        },
        "methods": {
            f"fixmatch-{k}": {"method": "fixmatch", "threshold": 0.5 + 0.4 * k / METHODS}
            for k in range(METHODS)
        },
    }
    path = folder / "large.yaml"
    path.write_text(yaml.safe_dump(suite))
    return make_plan(path, folder / "out", folder / "data")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        plan = large_plan(options.cells, Path(folder))
        planned = time.perf_counter()
    engine = SimulatedEngine(options.workers)
    summary = run_plan(plan, MemoryStore(), engine)
    scheduled = time.perf_counter()
    assert summary.exit_code == 0
    assert engine.started == len(plan.graph)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"{len(plan.cells)} cells, {len(plan.graph)} stages, {options.workers} workers")
    print(f"planned in {planned - began:.1f} s, scheduled in {scheduled - planned:.1f} s")
    print(f"{1e6 * (scheduled - began) / len(plan.graph):.0f} us per stage, {memory:.0f} MiB")
    ideal = engine.work / options.workers
    print(f"simulated time: {engine.now / ideal:.3f} of the work divided by the workers")


if __name__ == "__main__":
    main()
