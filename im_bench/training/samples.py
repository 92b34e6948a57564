"""A few images with truth and prediction, for the eye."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from im_bench.data.arrays import (
    ArrayDataset,
    extents,
    has_mask,
    read_arrays,
    read_meta,
    unlabelled_indices,
)
from im_bench.data.pictures import as_rgb, colour, overlay, strip, write_png
from im_bench.models.segmentor import LabelSpaceSegmentor


def write_samples(
    model: LabelSpaceSegmentor, dataset: ArrayDataset, folder: Path, count: int = 4
) -> None:
    """Write strips of image, truth and prediction as ``<index>.png``.

    Args:
        model: Predicts.
        dataset: Gives images and truth; the strips are spread evenly over it.
        folder: Receives the pictures.
        count: At most so many.
    """
    count = min(count, len(dataset))
    space, outputs = model.space.kind, model.space.outputs
    for index in (index * len(dataset) // count for index in range(count)):
        # One at a time, as the data set gives images without their padding.
        image, truth, predicted = _predicted(model, dataset.__getitems__([index]))
        panels = [
            as_rgb(image),
            overlay(image, truth, space, outputs),
            overlay(image, predicted, space, outputs),
        ]
        write_png(folder / f"{index:04d}.png", strip(panels))


def write_unlabelled_samples(
    model: LabelSpaceSegmentor, data_dir: Path, folder: Path, count: int = 8
) -> None:
    """Write what a student says of the first unlabelled images, as ``unlabelled-<k>.png``.

    They are those that :func:`im_bench.stages.pseudo_label.write_samples` shows as its teachers see
    them: image, truth if it is known, and prediction.

    Args:
        model: Predicts.
        data_dir: The folder ``arrays`` of the data stage.
        folder: Receives the pictures.
        count: At most so many.
    """
    meta = read_meta(data_dir)
    images, labels = read_arrays(data_dir, "train")
    filled, known = extents(meta, "train"), has_mask(meta)
    space, outputs = model.space.kind, model.space.outputs
    for k, row in enumerate(unlabelled_indices(meta, data_dir)[:count].tolist()):
        part = (slice(row, row + 1), *(filled[row] if filled else ()))
        batch = {"inputs": images[part], "data_samples": labels[part]}
        image, truth, said = _predicted(model, batch)
        shown = (truth, said) if known[row] else (said,)
        panels = [as_rgb(image), *(colour(each, space, outputs) for each in shown)]
        write_png(folder / f"unlabelled-{k}.png", strip(panels))


def _predicted(
    model: LabelSpaceSegmentor, batch: dict[str, Tensor]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the image (H, W, C) of a batch of one, its true and its predicted label map (H, W)."""
    model.eval()
    with torch.inference_mode():
        (sample,) = model.val_step(batch)
    image, truth = (batch[name][0].cpu().numpy() for name in ("inputs", "data_samples"))
    return image, truth, sample.pred_sem_seg.data[0].cpu().numpy()
