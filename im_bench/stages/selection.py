"""Which of several trainings are the best, by validation and never by test images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from im_bench.evaluation.registry import higher_is_better
from im_bench.files import read_json


def outcome_of(folder: Path) -> dict[str, Any]:
    """Return what the stage in a folder returned when it was done."""
    outcome: dict[str, Any] = read_json(folder / "result.json")["outcome"]
    return outcome


def best_by_validation(trainings: Sequence[Path], metric: str, count: int) -> list[Path]:
    """Return the ``count`` best trainings, the best one first; the earlier one of two equals.

    Args:
        trainings: Folders of train stages that are done.
        metric: The data set's headline metric, such as ``iou`` or ``mcce``.
        count: How many are wanted.
    """
    scores = {folder: outcome_of(folder)["val"][metric] for folder in trainings}
    return sorted(trainings, key=scores.__getitem__, reverse=higher_is_better(metric))[:count]
