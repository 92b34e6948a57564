"""A data set so small and easy that a network learns it within a second."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from im_bench.training.description import OnlineTraining, SupervisedTraining
from im_bench.training.specs import AugmentationSpec

SIZE = 32
COMMON: dict[str, Any] = {
    "seed": 3,
    "model": {"width": 0.25, "norm_momentum": 0.1},
    "batch": 4,
    "budget": {"kind": "equal", "iterations": 12},
    "validations": 3,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_arrays(folder: Path, space: str = "binary", channels: int = 3) -> Path:
    """Write packed arrays of bright squares on dark noise; return their folder."""
    rng = np.random.default_rng(0)
    arrays = folder / "arrays"
    arrays.mkdir(parents=True)
    names = {}
    for split, count in {"train": 24, "val": 6, "test": 6}.items():
        images = rng.integers(0, 100, (count, SIZE, SIZE, channels), dtype=np.uint8)
        labels = np.zeros((count, SIZE, SIZE), np.uint8)
        for index in range(count):
            y, x = rng.integers(0, SIZE - 6, 2)
            images[index, y : y + 6, x : x + 6] += 120
            labels[index, y : y + 6, x : x + 6] = 1
        np.save(arrays / f"{split}_images.npy", images)
        np.save(arrays / f"{split}_labels.npy", labels)
        names[split] = [f"{split}-{index}" for index in range(count)]
    classes = {"binary": ["square"], "multiclass": ["void", "square"], "multilabel": ["a", "b"]}
    meta = {
        "name": "squares",
        "space": space,
        "classes": classes[space],
        "outputs": len(classes[space]),
        "channels": channels,
        "size": [SIZE, SIZE],
        "cells": None,
        "metric": "iou" if space == "binary" else "miou",
        "labelled": names["train"][:8],
        "names": names,
    }
    (arrays / "meta.json").write_text(json.dumps(meta))
    return arrays


def train_config(**fields: Any) -> SupervisedTraining:
    """Return a training of a few steps on augmented images."""
    augmentation = AugmentationSpec(contrast=(0.8, 1.2), brightness=10, blur=1, noise=10)
    return SupervisedTraining(
        **{**COMMON, "copies": 10, "augmentation": augmentation, **fields},
    )


def online_training(method: dict[str, Any], **fields: Any) -> OnlineTraining:
    """Return a training of a few steps by an online method."""
    return OnlineTraining(**{**COMMON, "free_rotation": True, "method": method, **fields})


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed arrays of a binary task."""
    return write_arrays(tmp_path_factory.mktemp("data"))
