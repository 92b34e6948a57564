from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from im_bench.data.pseudo_labels import PseudoLabels
from im_bench.errors import ImBenchError
from im_bench.runner.job import StageInterrupted
from im_bench.schedules.inconsistency_masks import InconsistencyMasks
from im_bench.schedules.model_ensemble import ModelEnsemble
from im_bench.stages import pseudo_label

from .conftest import META, FinishedTraining, MakeJob

IM = InconsistencyMasks(teachers=2).labelling()
ME = ModelEnsemble(teachers=2).labelling()
CELLS = {
    **META,
    "space": "multilabel",
    "classes": ["alive", "dead", "position"],
    "outputs": 3,
    "channels": 1,
    "cells": {"alive": 0, "dead": 1, "position": 2},
}


class Teacher:
    """Says the same of every image."""

    def __init__(self, probabilities: Tensor) -> None:
        self._probabilities = probabilities

    def data_preprocessor(self, data: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return data

    def probabilities(self, inputs: Tensor) -> Tensor:
        return self._probabilities.expand(len(inputs), *self._probabilities.shape)


def square(side: int) -> Tensor:
    """Return probabilities of a square in the upper left corner, (1, 8, 8)."""
    said = torch.zeros(1, 8, 8)
    said[:, :side, :side] = 0.9
    return said


TEACHERS = {"good": square(6), "better": square(7), "bad": 1 - square(1)}


def run(
    labelling: Mapping[str, Any],
    finished_training: FinishedTraining,
    make_job: MakeJob,
    monkeypatch: pytest.MonkeyPatch,
    truth: np.ndarray | None = None,
    **meta: Any,
) -> tuple[dict[str, Any], Path]:
    """Label by the two best of three candidates; return the outcome and the folder."""
    candidates = [
        finished_training(name, iou=iou)
        for name, iou in {"bad": 0.1, "good": 0.6, "better": 0.7}.items()
    ]
    monkeypatch.setattr(
        pseudo_label, "load_model", lambda folder, data, device: Teacher(TEACHERS[folder.name])
    )
    job = make_job(labelling, {"candidates": candidates}, **meta)
    if truth is not None:
        np.save(job.inputs["data"][0] / "arrays" / "train_labels.npy", np.stack([truth] * 5))
    return pseudo_label.run(job), job.folder


def arrays(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images and labels as a student gets them, and the masks."""
    train_images = np.load(folder.parent / "data" / "arrays" / "train_images.npy")
    pseudo = PseudoLabels(folder, train_images.shape)
    labels, masks = (each.numpy() for each in pseudo.kept(np.arange(len(pseudo))))
    images = train_images[pseudo.indices]
    if pseudo.blank:
        images = np.where(masks[..., None], 0, images)
    return images, labels, masks


def test_masks_are_where_the_best_two_differ(
    finished_training: FinishedTraining, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome, folder = run(IM, finished_training, make_job, monkeypatch)
    assert outcome["teachers"] == ["better", "good"]
    assert outcome["unlabelled"] == 3
    assert outcome["images_kept"] == 1
    assert outcome["pixels_kept"] == pytest.approx(1 - 13 / 64)
    # The truth is background everywhere: of the pixels that are kept, 36 are wrong.
    assert outcome["label_accuracy"] == pytest.approx(1 - 36 / 51)

    images, labels, masks = arrays(folder)
    disputed = (square(7) > 0.5).numpy() ^ (square(6) > 0.5).numpy()
    assert (masks == disputed).all()
    assert (labels == (square(6) > 0.5).numpy()).all()
    data = np.load(folder.parent / "data" / "arrays" / "train_images.npy")[[0, 2, 4]]
    assert (images == data * ~disputed[..., None]).all()
    strips = sorted((folder / "samples").iterdir())
    assert len(strips) == 3
    panels = ["image", "truth", "teacher", "teacher", "mask", "image", "label"]
    assert cv2.imread(str(strips[0])).shape == (8, 8 * len(panels) + 4 * (len(panels) - 1), 3)


@pytest.mark.parametrize("space", ["binary", "multilabel"])
def test_labels_are_judged_where_the_truth_is_known(
    finished_training: FinishedTraining,
    make_job: MakeJob,
    monkeypatch: pytest.MonkeyPatch,
    space: str,
) -> None:
    fields = {"space": space, "outputs": 1, "unmasked": ["a", "e"]}
    outcome, _ = run(ME, finished_training, make_job, monkeypatch, **fields)
    one, _ = run(ME, finished_training, make_job, monkeypatch, **{**fields, "unmasked": ["e"]})
    assert outcome["label_accuracy"] == one["label_accuracy"] > 0  # All have the same truth.
    none, _ = run(
        ME, finished_training, make_job, monkeypatch, **{**fields, "unmasked": ["a", "c", "e"]}
    )
    assert "label_accuracy" not in none
    assert none["images_kept"] == 1


def test_padding_is_neither_labelled_nor_counted(
    finished_training: FinishedTraining, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teachers see images of their own sizes; what is stored has the size of the arrays."""
    seen = []

    def cut(teacher: Teacher, inputs: Tensor) -> Tensor:
        height, width = inputs.shape[1:3]
        seen.append((width, height))
        said = teacher._probabilities[:, :height, :width]
        return said.expand(len(inputs), *said.shape)

    monkeypatch.setattr(Teacher, "probabilities", cut)
    sizes = {"train": [[8, 8], [8, 8], [5, 7], [8, 8], [8, 4]]}
    outcome, folder = run(IM, finished_training, make_job, monkeypatch, sizes=sizes)
    assert seen == [(8, 8), (8, 8), (5, 7), (5, 7), (8, 4), (8, 4)]
    _, labels, masks = arrays(folder)
    disputed = (square(7) > 0.5).numpy()[0] ^ (square(6) > 0.5).numpy()[0]
    for row, (width, height) in enumerate([(8, 8), (5, 7), (8, 4)]):
        inside = np.zeros((8, 8), bool)
        inside[:height, :width] = True
        assert (masks[row] == (disputed & inside)).all()
        assert (labels[row][~inside] == 255).all()
    pixels, clear = 64 + 35 + 32, 64 - 13 + 35 - 5 + 32 - 4
    assert outcome["pixels_kept"] == pytest.approx(clear / pixels)
    assert len(list((folder / "samples").iterdir())) == 3


def test_pixels_without_a_true_label_are_neither_right_nor_wrong(
    finished_training: FinishedTraining, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = np.full((8, 8), 255, np.uint8)
    truth[:, :2] = 1
    outcome, _ = run(IM, finished_training, make_job, monkeypatch, truth)
    # Known are two columns, of which the teachers dispute one pixel each in row 6.
    assert outcome["label_accuracy"] == pytest.approx(12 / 14)
    assert outcome["pixels_kept"] == pytest.approx(1 - 13 / 64)


def test_the_ensemble_keeps_every_image_and_pixel(
    finished_training: FinishedTraining, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome, folder = run(ME, finished_training, make_job, monkeypatch)
    assert (outcome["images_kept"], outcome["pixels_kept"]) == (1, 1)
    images, labels, masks = arrays(folder)
    assert not masks.any()
    assert (labels == (square(6) > 0.5).numpy()).all()
    assert (images == np.load(folder.parent / "data/arrays/train_images.npy")[[0, 2, 4]]).all()


def test_images_of_little_agreement_are_left_out(
    finished_training: FinishedTraining, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TEACHERS, "good", square(4))  # 16 pixels agreed, 33 disputed
    outcome, folder = run(IM, finished_training, make_job, monkeypatch)
    assert outcome["images_kept"] == 0
    assert not {"pixels_kept", "label_accuracy"} & set(outcome), (
        "there is nothing to have a share of"
    )
    images, labels, masks = arrays(folder)
    assert images.shape == (0, 8, 8, 3)
    assert len(labels) == len(masks) == 0


def test_all_labelled_is_refused(
    finished_training: FinishedTraining, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImBenchError, match="no unlabelled images"):
        run(IM, finished_training, make_job, monkeypatch, labelled=list("abcde"))


@pytest.mark.parametrize(("labelling", "alive"), [(IM, 1), (ME, 0)])
def test_one_half_is_alive_for_the_masks_only(labelling: dict[str, Any], alive: int) -> None:
    """The original compares with >= where it makes masks for HeLa, and with > in its ensemble."""
    said = torch.zeros(3, 32, 32)
    said[0] = 0.5
    images = torch.full((1, 32, 32, 1), 9, dtype=torch.uint8)
    batch, _ = pseudo_label.label(images, [Teacher(said), Teacher(said)], labelling, CELLS)
    assert (batch.labels == alive).all()
    assert batch.keep.all()


@pytest.mark.parametrize("labelling", [IM, ME])
def test_positions_are_redrawn(labelling: dict[str, Any]) -> None:
    said = torch.zeros(3, 32, 32)
    said[2, 12:19, 12:19] = 0.9
    images = torch.full((1, 32, 32, 1), 9, dtype=torch.uint8)
    batch, _ = pseudo_label.label(images, [Teacher(said), Teacher(said)], labelling, CELLS)
    position = batch.labels[0] >> 2
    # A lone cell becomes a circle of radius 8, one pixel right of and below its centre.
    assert position.sum() > 3 * 49
    assert position[16, 8:25].all()
    assert not position[16, :8].any()


def test_binary_images_are_filtered_as_in_the_original_and_others_are_not() -> None:
    chosen = {
        space: pseudo_label.mask_options(IM, {**META, "space": space}).image_filter
        for space in ("binary", "multiclass", "multilabel")
    }
    assert chosen == {"binary": "foreground", "multiclass": "none", "multilabel": "none"}
    assert pseudo_label.mask_options(IM, CELLS).growing_bits == 0b011


def test_an_interrupted_labelling_goes_on_where_it_was(
    finished_training: FinishedTraining, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pseudo_label, "BATCH", 1)
    options = {**IM, "image_filter": "none"}
    whole, folder = run(options, finished_training, make_job, monkeypatch)
    expected = arrays(folder)
    for name in ("indices", "labels", "masks"):
        (folder / f"{name}.npy").unlink()

    asked: list[int] = []
    original = pseudo_label.label

    def counting(images: Tensor, *others: Any) -> Any:
        asked.append(len(images))
        return original(images, *others)

    monkeypatch.setattr(pseudo_label, "label", counting)
    candidates = [folder.parent / name for name in ("bad", "good", "better")]
    job = make_job(options, {"candidates": candidates})
    monkeypatch.setattr(job, "progress", lambda done, total: done == 2 and job.stop.set())
    with pytest.raises(StageInterrupted):
        pseudo_label.run(job)
    assert len(asked) == 2
    job.stop.clear()
    assert pseudo_label.run(job) == whole
    assert len(asked) == 3  # not again from the start
    for again, before in zip(arrays(folder), expected, strict=True):
        assert (again == before).all()
