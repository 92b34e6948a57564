"""A few images with truth and prediction, for the eye."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from im_bench.data.arrays import ArrayDataset, read_meta, unlabelled_indices
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
    indices = [index * len(dataset) // count for index in range(count)]
    batch = dataset.__getitems__(indices)
    space, outputs = model.space.kind, model.space.outputs
    images, labels = batch["inputs"].cpu().numpy(), batch["data_samples"].cpu().numpy()
    predictions = _predictions(model, batch)
    for index, image, truth, predicted in zip(indices, images, labels, predictions, strict=True):
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
    them: image, truth and prediction.

    Args:
        model: Predicts.
        data_dir: The folder ``arrays`` of the data stage.
        folder: Receives the pictures.
        count: At most so many.
    """
    rows = unlabelled_indices(read_meta(data_dir), data_dir)[:count]
    batch = ArrayDataset(data_dir, "all").__getitems__(rows.tolist())
    space, outputs = model.space.kind, model.space.outputs
    images, labels = batch["inputs"].numpy(), batch["data_samples"].numpy()
    predictions = _predictions(model, batch)
    for k, (image, truth, said) in enumerate(zip(images, labels, predictions, strict=True)):
        panels = [as_rgb(image), *(colour(each, space, outputs) for each in (truth, said))]
        write_png(folder / f"unlabelled-{k}.png", strip(panels))


def _predictions(model: LabelSpaceSegmentor, batch: dict[str, Tensor]) -> list[Any]:
    """Return the predicted label map of each image of a batch."""
    model.eval()
    with torch.inference_mode():
        samples = model.val_step(batch)
    return [sample.pred_sem_seg.data[0].cpu().numpy() for sample in samples]
