"""Predictions that nobody has trained for, and how one would score pseudo-labels without haste."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from optuna.study import Study
from torch import Tensor

from im_bench.data.label_spaces import label_space
from im_bench.evaluation import overlap
from im_bench.evaluation.cells import redraw_position_bits
from im_bench.masks import inconsistency_masked
from im_bench.stages.pseudo_label import labelling_space, mask_options
from im_bench.tuning.labels.front import front
from im_bench.tuning.labels.knobs import Knobs
from im_bench.tuning.labels.scorer import Score
from im_bench.tuning.study import Definition, TrialRecord, records_of
from im_bench.tuning.tuned import best_of

SIDE = 24
OUTPUTS = {"binary": 1, "multiclass": 4, "multilabel": 3}


class Data(NamedTuple):
    """Predictions float16 (K, N, C, H, W), label bytes (N, H, W), and ``meta.json``."""

    probabilities: NDArray[np.float16]
    truth: NDArray[np.uint8]
    meta: dict[str, Any]


def smooth(generator: torch.Generator, *shape: int) -> Tensor:
    """Return noise of a few pixels' grain."""
    coarse = torch.randn(*shape, SIDE // 4, SIDE // 4, generator=generator)
    return torch.nn.functional.interpolate(coarse.flatten(0, -4), size=SIDE, mode="bilinear").view(
        *shape, SIDE, SIDE
    )


def make_data(space: str, networks: int = 4, images: int = 7, cells: bool = False) -> Data:
    """Make labels of blobs, and networks each of which is wrong in places of its own."""
    generator = torch.Generator().manual_seed(len(space))
    outputs = OUTPUTS[space]
    shown = smooth(generator, images, outputs) * 3
    logits = shown + smooth(generator, networks, images, outputs) * 1.5
    labels = label_space(space, outputs)
    truth = labels.discretise(labels.activate(shown)).numpy()
    if space != "multilabel":
        truth[0, :5] = 255
        truth[1] = 255
    if space == "multiclass":
        truth[truth == 3] = 2  # a class that networks see and the truth does not have
    said = torch.stack([labels.activate(each) for each in logits])
    names = [f"v{i}" for i in range(images)]
    meta = {
        "name": "blobs",
        "space": space,
        "outputs": outputs,
        "size": [SIDE, SIDE],
        "cells": {"alive": 0, "dead": 1, "position": 2} if cells else None,
        "names": {"train": [], "val": names, "test": []},
    }
    return Data(said.half().numpy(), truth, meta)


def plain_score(data: Data, labels: str, knobs: Knobs) -> Score:
    """Score one trial image by image, with the functions of the stage ``pseudo-label``."""
    meta, kind, outputs = data.meta, data.meta["space"], data.meta["outputs"]
    space, masking = label_space(kind, outputs), labelling_space(meta)
    cells = meta["cells"]
    redraw = partial(redraw_position_bits, cells=cells) if cells else None
    config = {
        "erode": knobs.erode,
        "dilate": knobs.dilate,
        "block_input": False,
        "block_output": False,
        "blocked_label": "zero",
        "image_filter": knobs.image_filter,
    }
    options = mask_options(config, meta)
    classes = outputs
    counts = torch.zeros(3, classes, dtype=torch.float64)
    whole_truth = torch.zeros(classes, dtype=torch.float64)
    kept_pixels = valid_pixels = right_pixels = 0
    for i, true in enumerate(torch.from_numpy(data.truth)[:, None]):
        said = torch.from_numpy(data.probabilities[: knobs.teachers, i]).float()[:, None]
        predictions = torch.stack([masking.discretise(each) for each in said])
        blank = torch.zeros(1, 3, SIDE, SIDE)
        masked = inconsistency_masked(blank, predictions, kind, options, redraw)
        label = masked.labels if labels == "consensus" else space.discretise(said[0])
        valid = space.valid(true)
        sure = space.confidence(said[0]).half().double() >= knobs.threshold
        kept = valid & sure & ~masked.inconsistent & masked.keep[:, None, None]
        valid_pixels += int(valid.sum())
        kept_pixels += int(kept.sum())
        right_pixels += int((kept & (label == true)).sum())
        counts += count(kind, label, true, kept, classes)
        whole_truth += count(kind, label, true, valid, classes)[2]
    union = counts[1] + counts[2] - counts[0]
    iou = torch.where(union > 0, counts[0] / union, 0.0)[whole_truth > 0]
    return Score(
        float(iou.mean()),
        kept_pixels / valid_pixels,
        right_pixels / kept_pixels if kept_pixels else 0.0,
    )


def count(kind: str, label: Tensor, true: Tensor, kept: Tensor, classes: int) -> Tensor:
    """Count the kept pixels of an image as the project's metrics do, (3, C)."""
    if kind == "multilabel":  # no byte is ignored, so what is not kept becomes no class in both
        counts = overlap.multilabel_counts(
            label.masked_fill(~kept, 0), true.masked_fill(~kept, 0), classes
        )
    elif kind == "binary":
        counts = overlap.binary_counts(label, true.masked_fill(~kept, 255))
    else:
        counts = overlap.multiclass_counts(label, true.masked_fill(~kept, 255), classes)
    return torch.stack(tuple(counts))[:, 0]


def best(study: Study) -> TrialRecord | None:
    """Return the trial of a study of pseudo-labels that would be frozen."""
    definition = Definition(
        suite="s",
        budget="equal",
        method="im",
        data=("d",),
        seeds=(1001,),
        objective="pseudo-labels",
        metric="iou",
        space={},
        fields={},
        protocol="",
        sampler="NSGA-II",
        pruner="none",
    )
    return best_of(definition, records_of(study))


def front_of(study: Study) -> list[TrialRecord]:
    """Return the front of a study."""
    return front(records_of(study))
