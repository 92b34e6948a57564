"""Predictions of a cell's networks for the user's own images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from im_bench.data.arrays import read_meta
from im_bench.data.image_files import read_image
from im_bench.data.packing import resize_image
from im_bench.data.pictures import overlay, write_png
from im_bench.errors import ImBenchError
from im_bench.masks import consensus
from im_bench.training.inference import load_model, predict_probabilities


@dataclass(frozen=True)
class Prediction:
    """What was written for one image.

    Attributes:
        image: The image.
        mask: Label bytes as a grey PNG, in the image's size.
        overlay: The image with the labels in colour.
        inconsistency: White where the ensemble disagrees, or None if it is a single network.
        inconsistent: Share of pixels where it does, in 0..1.
    """

    image: Path
    mask: Path
    overlay: Path
    inconsistency: Path | None
    inconsistent: float


def predict_files(
    images: Sequence[Path],
    trainings: Sequence[Path],
    data_dir: Path,
    out: Path,
    device: str = "auto",
) -> list[Prediction]:
    """Predict images and write masks, overlays and the ensemble's inconsistency masks.

    Each image is reduced or enlarged to the size that the networks were trained on, and what is
    predicted is brought back to the image's own size.

    Args:
        images: Image files of any size.
        trainings: Folders of train stages: the network whose labels are written, then the others
            of the ensemble.
        data_dir: The folder ``arrays`` of the data stage that they were trained on.
        out: Receives ``<stem>-mask.png``, ``<stem>-overlay.png``, ``<stem>-inconsistency.png``.
        device: A torch device, or ``auto``.

    Raises:
        ImBenchError: An image cannot be read, or two would be written to the same file.
    """
    meta = read_meta(data_dir)
    _refuse_equal_stems(images)
    models = [load_model(folder, data_dir, device) for folder in trainings]
    return [_predict_one(image, models, meta, out) for image in images]


def _predict_one(path: Path, models: list[Any], meta: dict[str, Any], out: Path) -> Prediction:
    image = read_image(path, "rgb" if meta["channels"] == 3 else "grey")
    height, width = image.shape[:2]
    resized = resize_image(image, tuple(meta["size"]))[None]
    said = torch.stack(
        [model.space.discretise(next(predict_probabilities(model, resized, 1))) for model in models]
    )

    def at_full_size(labels: torch.Tensor) -> NDArray[np.uint8]:
        array = labels[0].byte().cpu().numpy()
        full: NDArray[np.uint8] = cv2.resize(
            array, (width, height), interpolation=cv2.INTER_NEAREST_EXACT
        )
        return full

    labels = at_full_size(said[0])
    mask = out / f"{path.stem}-mask.png"
    write_png(mask, labels)
    laid_over = out / f"{path.stem}-overlay.png"
    write_png(laid_over, overlay(image, labels, meta["space"], meta["outputs"]))
    if len(models) == 1:
        return Prediction(path, mask, laid_over, None, 0.0)
    disputed = at_full_size(consensus(said, meta["space"]).inconsistent)
    inconsistency = out / f"{path.stem}-inconsistency.png"
    write_png(inconsistency, disputed * 255)
    return Prediction(path, mask, laid_over, inconsistency, float(disputed.mean()))


def _refuse_equal_stems(images: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for image in images:
        if image.stem in seen:
            raise ImBenchError(
                f"{seen[image.stem]} and {image} would be written to the same files: rename one, "
                "or predict them into different folders"
            )
        seen[image.stem] = image
