"""A few validation images with truth and prediction, for the eye."""

from __future__ import annotations

from pathlib import Path

import torch

from im_bench.data.arrays import ArrayDataset
from im_bench.data.pictures import as_rgb, overlay, strip, write_png
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
    model.eval()
    with torch.inference_mode():
        samples = model.val_step(batch)
    space, outputs = model.space.kind, model.space.outputs
    images, labels = batch["inputs"].cpu().numpy(), batch["data_samples"].cpu().numpy()
    for index, image, truth, sample in zip(indices, images, labels, samples, strict=True):
        predicted = sample.pred_sem_seg.data[0].cpu().numpy()
        panels = [
            as_rgb(image),
            overlay(image, truth, space, outputs),
            overlay(image, predicted, space, outputs),
        ]
        write_png(folder / f"{index:04d}.png", strip(panels))
