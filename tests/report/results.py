"""A small suite and results of it, written as stages write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from im_bench.files import write_json, write_text
from im_bench.planning.plan import Plan, make_plan
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage

SUITE = """
name: tiny
seeds: [1, 2, 3]
budget: equal
budgets: {equal: {iterations: 150}}
data:
  isic: {reference: isic2018}
  cells: {synth: {like: hela}, size: [64, 64]}
methods:
  ldt: {members: 2}
  fdt: {members: 1}
  aldt: {members: 1}
  im: {members: 2, students: 2, teachers: 2, generations: 2}
"""


def make_tiny_plan(tmp_path: Path, **chosen: Any) -> Plan:
    """Return the plan of the suite above, or of a part of it."""
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE)
    return make_plan(path, tmp_path / "runs", tmp_path / "data", **chosen)


def outcome_of(
    metric: str, scores: list[float], shares: list[float] | None = None
) -> dict[str, Any]:
    """Return what an ``evaluate`` stage returns, for test scores of generations 1, 2, ..."""
    generations = [
        {
            "generation": g,
            "selected": f"student-{g}",
            "iterations": 150,
            "val": {metric: score + 0.01},
            "test": {metric: score},
            **({"images_kept": shares[g - 1], "pixels_kept": 0.5} if shares else {}),
        }
        for g, score in enumerate(scores, 1)
    ]
    last = generations[-1]
    return {
        "metric": metric,
        "report": "last",
        "selected_generation": len(scores),
        **{name: last[name] for name in ("selected", "val", "test")},
        "test_images": 40,
        "generations": generations,
    }


def finish(store: Store, plan: Plan, stage: Stage, outcome: dict[str, Any]) -> Path:
    """Leave the files of a stage that is done."""
    folder = store.prepare(stage, plan.graph).path
    write_json(
        folder / "provenance-1.json",
        {"commit": "0123456789abcdef", "dirty": False, "versions": {"torch": "2.13.0"}},
    )
    write_json(
        folder / "result.json",
        {"key": stage.key, "slug": stage.slug, "kind": stage.kind, "outcome": outcome},
    )
    return folder


def leave_training(
    store: Store, plan: Plan, stage: Stage, iterations: range, done: bool = True
) -> Path:
    """Leave the curves of a training, and if it is done its samples and result."""
    folder = store.prepare(stage, plan.graph).path
    rows: list[dict[str, float]] = []
    for i in iterations:
        rows.append({"iter": i, "train/loss": 1 / i})
        if i % 10 == 0:
            rows.append({"iter": i, "val/iou": i / 100})
    write_text(folder / "scalars.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    if done:
        leave_pictures(folder, 2)
        finish(store, plan, stage, {"val": {"iou": iterations[-1] / 100}, "best_iteration": 10})
    return folder


def leave_pseudo_labels(store: Store, plan: Plan, stage: Stage) -> Path:
    """Leave what a pseudo-label stage leaves, but for the arrays."""
    folder = store.prepare(stage, plan.graph).path
    leave_pictures(folder, 3)
    return finish(store, plan, stage, {"teachers": ["a", "b"], "images_kept": 0.5})


def leave_pictures(folder: Path, count: int) -> None:
    """Leave pictures in ``samples/``."""
    (folder / "samples").mkdir(exist_ok=True)
    for i in range(count):
        Image.new("RGB", (64, 32), (40 * i, 0, 0)).save(folder / "samples" / f"sample-{i}.png")
