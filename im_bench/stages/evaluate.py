"""The ``evaluate`` stage: the scores of a cell, and the one time that test images are read.

Inputs: ``data``; ``generation-k``, the trainings of each generation; ``labels-k``, the pseudo-label
stage before it, if any. The best training of each generation by validation is scored on the test
images. ``report`` says which generation stands for the cell: the ``last``, or the ``best`` by
validation. With ``part: val`` the scores are those of the validation, and the test images are not
read: so for the trials of a search.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from im_bench.data.arrays import read_meta
from im_bench.evaluation.registry import higher_is_better
from im_bench.runner.job import Job, StageInterrupted
from im_bench.stages.scoring import score
from im_bench.stages.selection import best_by_validation, outcome_of
from im_bench.suites.graph import generations_of, labels_role
from im_bench.training.inference import load_model

SHARES = ("images_kept", "pixels_kept", "label_accuracy")


def run(job: Job) -> dict[str, Any]:
    """Score each generation and say which one stands in the table."""
    data = job.inputs["data"][0] / "arrays"
    meta = read_meta(data)
    metric, part = meta["metric"], job.config.get("part", "test")
    trained_in = generations_of(job.inputs)
    rounds = len(trained_in)
    generations = []
    for g, trainings in enumerate(trained_in, 1):
        if job.stop_requested:
            raise StageInterrupted
        best = best_by_validation(trainings, metric, 1)[0]
        trained = outcome_of(best)
        labels = job.inputs.get(labels_role(g))
        shares = outcome_of(labels[0]) if labels else {}
        generations.append(
            {
                "generation": g,
                "selected": best.name,
                "trained": len(trainings),
                "iterations": trained["iterations"],
                "val": trained["val"],
                **({"warning": trained["warning"]} if "warning" in trained else {}),
                **({"test": _tested(best, data, job)} if part == "test" else {}),
                **{share: shares[share] for share in SHARES if share in shares},
            }
        )
        job.progress(g, rounds)
    chosen = generations[-1]
    if job.config["report"] == "best":
        sign = 1 if higher_is_better(metric) else -1
        chosen = max(generations, key=lambda entry: sign * entry["val"][metric])
    return {
        "metric": metric,
        "report": job.config["report"],
        "selected_generation": chosen["generation"],
        "selected": chosen["selected"],
        "val": chosen["val"],
        **({"warning": chosen["warning"]} if "warning" in chosen else {}),
        **(
            {"test": chosen["test"], "test_images": len(meta["names"]["test"])}
            if part == "test"
            else {"part": part}
        ),
        "generations": generations,
    }


def _tested(training: Path, data: Path, job: Job) -> dict[str, float]:
    return score(load_model(training, data, job.settings.device), data, "test")
