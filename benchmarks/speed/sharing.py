"""What it saves to run a suite as a whole: ``python -m benchmarks.speed.sharing``.

Runs a part of a suite once as one plan, whose cells share stages, and once cell by cell into
folders of their own, on the same slots, and compares the trainings and the time. With ``--count``,
only counts the trainings of the whole suite, which needs no data.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from im_bench.planning.loading import suite_path
from im_bench.planning.plan import Plan, make_plan
from im_bench.runner.engines.local import LocalEngine
from im_bench.runner.engines.options import LocalOptions
from im_bench.runner.scheduler import run_plan
from im_bench.runner.store import Store


def trainings(plan: Plan) -> int:
    """Return how many trainings a plan takes as a whole."""
    return sum(stage.kind == "train" for stage in plan.graph)


def one_by_one(plan: Plan) -> int:
    """Return how many trainings its cells take if none shares with another."""
    return sum(
        stage.kind == "train"
        for cell in plan.cells
        for key in cell.finals.values()
        for stage in plan.closure([key])
    )


def single_plans(path: Path, whole: Plan, out: Path) -> Iterator[tuple[Plan, Path]]:
    """Give a plan and a folder of its own for each cell and seed."""
    for cell in whole.cells:
        for seed in cell.finals:
            folder = out / cell.name / f"s{seed}"
            named = {"methods": [cell.method], "data": [cell.data], "seeds": [seed]}
            yield make_plan(path, folder, Path("data"), budget="equal", **named), folder  # type: ignore[arg-type]


def timed(engine: LocalEngine, plan: Plan, out: Path) -> float:
    """Return the seconds that a plan takes."""
    began = time.perf_counter()
    summary = run_plan(plan, Store(out), engine)
    assert summary.exit_code == 0, summary
    return time.perf_counter() - began


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="real-small")
    parser.add_argument("--data", nargs="+", default=["nuclei"])
    parser.add_argument("--methods", nargs="+", default=["ldt", "me", "im"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--count", action="store_true", help="count the whole suite's trainings")
    options = parser.parse_args()
    original = suite_path(options.suite)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.count:
            plan = make_plan(original, folder, Path("data"))
            print(f"{plan.name}: {trainings(plan)} trainings, {one_by_one(plan)} one by one")
            return
        suite = yaml.safe_load(original.read_text())
        suite["budgets"]["equal"]["iterations"] = options.iterations
        for data in suite["data"].values():
            if "folder" in data:
                data["folder"] = str((original.parent / data["folder"]).resolve())
        path = folder / original.name
        path.write_text(yaml.safe_dump(suite))
        named = {"methods": options.methods, "data": options.data, "seeds": options.seeds}
        whole = make_plan(path, folder / "whole", Path("data"), budget="equal", **named)
        engine = LocalEngine(LocalOptions(slots=options.slots, device="cpu"))
        together = timed(engine, whole, folder / "whole")
        singles = list(single_plans(path, whole, folder / "single"))
        apart = sum(timed(engine, plan, out) for plan, out in singles)
        engine.close()
        alone = sum(trainings(plan) for plan, _ in singles)
        print(f"{options.iterations} iterations, {len(singles)} cells, {options.slots} slots")
        print(f"as a whole: {trainings(whole)} trainings, {together:.1f} s")
        print(f"one by one: {alone} trainings, {apart:.1f} s; ratio {together / apart:.2f}")


if __name__ == "__main__":
    main()
