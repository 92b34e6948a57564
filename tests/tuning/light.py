"""``im-bench`` with stages that train nothing: ``python -m tests.tuning.light tune ...``.

``LIGHT_SECONDS`` is how long a validation takes; with a threshold below ``LIGHT_FAIL_BELOW`` a
training fails; where ``LIGHT_SAME`` is set, a validation image is a test image.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pytest

from im_bench.cli.app import main
from im_bench.errors import ImBenchError
from im_bench.files import read_json, write_json, write_text
from im_bench.runner.engines import local
from im_bench.runner.job import Job, StageInterrupted
from im_bench.suites.recipes import RECIPES, Recipe

PRELOAD = ("im_bench.runner.stage", "numpy")


def data(job: Job) -> dict[str, Any]:
    """Write a few validation and test images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    tested = images[2:] if os.environ.get("LIGHT_SAME") else images[3:]
    (job.folder / "arrays").mkdir(exist_ok=True)
    for part, some in {"val": images[:3], "test": tested}.items():
        np.save(job.folder / "arrays" / f"{part}_images.npy", some)
    return {"metric": os.environ.get("LIGHT_METRIC", "iou")}


def train(job: Job) -> dict[str, Any]:
    """Approach a score that the threshold gives; ``steps.txt`` tells who took each step."""
    threshold = job.config["method"]["threshold"]
    checkpoint = job.folder / "scratch" / "last.json"
    done = read_json(checkpoint) if checkpoint.exists() else 0
    steps = job.config["validations"]
    for step in range(done, steps):
        if job.stop_requested:
            raise StageInterrupted
        if threshold < float(os.environ.get("LIGHT_FAIL_BELOW", "0")):
            raise ImBenchError("the masks are upside down: turn them")
        with (job.folder / "steps.txt").open("a") as file:
            file.write(f"{step} {os.getpid()}\n")
        time.sleep(float(os.environ.get("LIGHT_SECONDS", "0")))
        lines = [f'{{"iter": {s}, "val/iou": {score_at(threshold, s, steps)}}}' for s in
                 range(1, step + 2)]  # fmt: skip
        write_text(job.folder / "scalars.jsonl", "\n".join(lines) + "\n", durable=False)
        write_json(checkpoint, step + 1)
        job.progress(step + 1, steps)
    return {"val": {"iou": score_at(threshold, steps, steps)}, "iterations": steps}


def score_at(threshold: float, step: int, steps: int) -> float:
    """Return what a training is worth at a step: most with a threshold of 0.6."""
    return (1 - abs(threshold - 0.6)) * step / steps


def evaluate(job: Job) -> dict[str, Any]:
    """Return the validation score of the training."""
    (training,) = job.inputs["generation-1"]
    trained = read_json(training / "result.json")["outcome"]
    entry = {"generation": 1, "selected": training.name, "trained": 1, **trained}
    return {
        "metric": "iou",
        "report": "last",
        "selected_generation": 1,
        "selected": training.name,
        "val": trained["val"],
        "part": job.config["part"],
        "generations": [entry],
    }


KINDS = {function.__name__: function for function in (data, train, evaluate)}


def light_kinds(patch: pytest.MonkeyPatch) -> None:
    """Let stages of a plan be the ones above."""
    for name, function in KINDS.items():
        recipe = Recipe(f"{__name__}:{function.__name__}", RECIPES[name].version)
        patch.setitem(RECIPES, name, recipe)


if __name__ == "__main__":
    for name in KINDS:
        RECIPES[name] = Recipe(f"{__package__}.light:{name}", RECIPES[name].version)
    local.PRELOAD = PRELOAD  # type: ignore[assignment]
    main()
