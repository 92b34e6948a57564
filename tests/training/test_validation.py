"""What a training learns of its validation images beside their scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from im_bench.training.cell import train_cell
from im_bench.training.scalars import read_rows
from im_bench.training.validation import ONLY_LABEL, OnlyLabelMetric, one_label_warning

from .conftest import train_config, write_arrays

SPACES: dict[str, dict[str, Any]] = {
    "binary": {"kind": "binary", "outputs": 1},
    "multiclass": {"kind": "multiclass", "outputs": 3},
    "multilabel": {"kind": "multilabel", "outputs": 2},
}


def only_label(space: str, predicted: list[list[int]], truth: list[list[int]]) -> float | None:
    """Return what the metric says of images of one row each."""
    metric = OnlyLabelMetric(SPACES[space])
    for said, true in zip(predicted, truth, strict=True):
        maps = {"pred_sem_seg": said, "gt_sem_seg": true}
        sample = {
            name: {"data": torch.tensor([[row]], dtype=torch.uint8)} for name, row in maps.items()
        }
        metric.process(None, [sample])
    return metric.evaluate(len(predicted)).get(ONLY_LABEL)


@pytest.mark.parametrize("space", SPACES)
def test_one_label_is_told_where_the_truth_has_others(space: str) -> None:
    assert only_label(space, [[1, 1], [1, 1]], [[0, 1], [1, 1]]) == 1
    assert only_label(space, [[0, 0], [0, 0]], [[0, 0], [0, 1]]) == 0
    assert only_label(space, [[0, 0], [1, 1]], [[0, 0], [0, 1]]) is None
    assert only_label(space, [[1, 1], [0, 1]], [[0, 0], [0, 1]]) is None
    assert only_label(space, [[1, 1], [1, 1]], [[1, 1], [1, 1]]) is None


def test_ignored_pixels_have_no_truth() -> None:
    assert only_label("multiclass", [[2, 2]], [[2, 255]]) is None
    assert only_label("multiclass", [[2, 2]], [[255, 255]]) is None
    assert only_label("multiclass", [[2, 2]], [[255, 1]]) == 2
    assert only_label("multilabel", [[3, 3]], [[3, 1]]) == 3


@pytest.mark.parametrize(
    ("space", "classes", "label", "name"),
    [
        ("binary", ["square"], 0, "background"),
        ("binary", ["square"], 1, "square"),
        ("multiclass", ["void", "a"], 1, "a"),
        ("multilabel", ["a", "b"], 0, "no class"),
        ("multilabel", ["a", "b"], 3, "a and b"),
    ],
)
def test_the_label_is_named(space: str, classes: list[str], label: float, name: str) -> None:
    meta = {"space": space, "classes": classes, "names": {"val": ["v"] * 7}}
    said = one_label_warning(label, meta)
    assert f"every pixel of all 7 validation images is predicted as {name}:" in said


def test_a_training_that_learns_one_label_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arrays = write_arrays(tmp_path / "data")
    labels = np.load(arrays / "train_labels.npy")
    np.save(arrays / "train_labels.npy", np.zeros_like(labels))
    budget = {"kind": "equal", "iterations": 30}
    config = train_config(budget=budget, learning_rate=0.01, keep="last")
    (tmp_path / "stage").mkdir()
    outcome = train_cell(config, arrays, tmp_path / "stage", device="cpu")
    assert "is predicted as background: train longer" in outcome["warning"]
    assert outcome["warning"] in caplog.text
    assert ONLY_LABEL not in outcome["val"]
    assert read_rows(tmp_path / "stage" / "scalars.jsonl")[-1][f"val/{ONLY_LABEL}"] == 0
