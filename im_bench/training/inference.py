"""Trained networks: loading them and predicting with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from mmseg.registry import MODELS
from numpy.typing import NDArray
from torch import Tensor

from im_bench.data.arrays import read_meta
from im_bench.errors import ImBenchError
from im_bench.files import read_json
from im_bench.models.checkpoints import BrokenCheckpoint, load_checkpoint, refuse_pickled_code
from im_bench.models.segmentor import LabelSpaceSegmentor, place
from im_bench.training.config import custom_imports, resolve_device, segmentor_config
from im_bench.training.description import parse_training
from im_bench.training.memory import keep_freed_memory
from im_bench.training.runner import import_custom_modules


def load_model(folder: Path, data_dir: Path, device: str = "auto") -> LabelSpaceSegmentor:
    """Return the best network of a train stage, in evaluation mode.

    Args:
        folder: The train stage's folder.
        data_dir: The folder ``arrays`` of the data stage that it was trained on.
        device: A torch device, or ``"auto"``.

    Raises:
        ImBenchError: The stage is unknown, unfinished, or its files do not belong together.
    """
    refuse_pickled_code()
    keep_freed_memory()
    where = resolve_device(device)
    try:
        training = parse_training(read_json(folder / "stage.json")["config"])
    except (OSError, ValueError, KeyError) as error:  # pydantic's are ValueErrors
        raise ImBenchError(
            f"{folder} is no train stage ({type(error).__name__}: {error}): check the path"
        ) from None
    import_custom_modules(custom_imports(training))
    model: LabelSpaceSegmentor = MODELS.build(segmentor_config(training, read_meta(data_dir)))
    try:
        weights = load_checkpoint(folder / "best.pth").get("state_dict", {})
    except BrokenCheckpoint as error:
        reason = str(error).rpartition(":")[0]
        raise ImBenchError(
            f"{reason}: remove the folder {folder} and run again with --policy retry-failed, which "
            "trains anew"
        ) from None
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ImBenchError(
            f"{folder / 'best.pth'} does not fit the network of {folder / 'stage.json'} "
            f"({str(error).splitlines()[0]}): train again"
        ) from None
    place(model, where)
    model.eval()
    return model


def predict_probabilities(
    model: LabelSpaceSegmentor, images: NDArray[np.uint8], batch: int
) -> Iterator[Tensor]:
    """Predict images batch by batch.

    Args:
        model: In evaluation mode; see :func:`load_model`.
        images: uint8 (N, H, W, C).
        batch: Images at a time.

    Yields:
        float32 probabilities (B, C, H, W) on the model's device, in the order of the images.
    """
    for start in range(0, len(images), batch):
        # A copy, because memory-mapped arrays may be read-only.
        part = torch.from_numpy(np.array(images[start : start + batch]))
        with torch.inference_mode():
            yield model.probabilities(model.data_preprocessor({"inputs": part})["inputs"])
