"""The command line with stages that do nothing but wait: ``python -m cli.light run ...``.

``LIGHT_SECONDS`` is how long each waits; ``LIGHT_FAIL`` is a part of the slugs of those that fail.
"""

from __future__ import annotations

import os
import time
from typing import Any

from im_bench.cli.app import main
from im_bench.errors import ImBenchError
from im_bench.runner.engines import local
from im_bench.runner.job import Job, StageInterrupted
from im_bench.suites.recipes import RECIPES, Recipe


def run(job: Job) -> dict[str, Any]:
    """Wait in steps, and return what an ``evaluate`` stage would."""
    fail = os.environ.get("LIGHT_FAIL")
    if fail and fail in str(job.folder):
        bug = os.environ.get("LIGHT_FAIL_HOW") == "bug"
        raise (RuntimeError if bug else ImBenchError)("the masks are upside down: turn them")
    for step in range(20):
        if job.stop_requested:
            raise StageInterrupted
        time.sleep(float(os.environ.get("LIGHT_SECONDS", "0")) / 20)
        job.progress(step + 1, 20, loss=0.5)
    if "candidates" in job.inputs:
        stages = job.folder.parents[1]
        teachers = job.inputs["candidates"][:2]
        return {"teachers": [str(path.relative_to(stages)) for path in teachers]}
    rounds = sum(role.startswith("generation-") for role in job.inputs)
    scores = [
        {
            "generation": g,
            "selected": job.inputs[f"generation-{g}"][0].name,
            "iterations": 10,
            "val": {"iou": 0.5 + g / 10},
            "test": {"iou": 0.4 + g / 10, "dice": 0.6},
            **({"images_kept": 0.75} if f"labels-{g}" in job.inputs else {}),
        }
        for g in range(1, rounds + 1)
    ]
    last = scores[-1] if scores else {"generation": 0, "selected": "", "val": {}, "test": {}}
    return {
        "metric": "iou",
        "report": "last",
        "selected_generation": last["generation"],
        "selected": last["selected"],
        "val": last["val"],
        "test": last["test"],
        "test_images": 1,
        "generations": scores,
    }


if __name__ == "__main__":
    for name in list(RECIPES):
        RECIPES[name] = Recipe(f"{__package__}.light:run", RECIPES[name].version)
    local.PRELOAD = ("im_bench.runner.stage",)
    main()
