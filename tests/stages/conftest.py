"""Stages around trainings that need not be trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from im_bench.files import write_json
from im_bench.runner.job import Job, Settings

FinishedTraining = Callable[..., Path]
MakeJob = Callable[..., Job]

META = {
    "name": "squares",
    "space": "binary",
    "classes": ["square"],
    "outputs": 1,
    "channels": 3,
    "size": [8, 8],
    "cells": None,
    "metric": "iou",
    "labelled": ["b", "d"],
    "names": {"train": ["a", "b", "c", "d", "e"], "val": ["v"], "test": ["t"]},
}


@pytest.fixture
def finished_training(tmp_path: Path) -> FinishedTraining:
    """Return a function that writes a train stage with these validation scores."""

    def write(name: str, **val: float) -> Path:
        folder = tmp_path / "stages" / name
        outcome = {"val": val, "iterations": 7}
        write_json(folder / "result.json", {"outcome": outcome})
        return folder

    return write


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    """Return a function that makes a job on a data stage whose only images are for training."""

    def make(config: Mapping[str, Any], inputs: Mapping[str, list[Path]], **meta: Any) -> Job:
        arrays = tmp_path / "stages" / "data" / "arrays"
        write_json(arrays / "meta.json", {**META, **meta})
        rng = np.random.default_rng(0)
        np.save(arrays / "train_images.npy", rng.integers(1, 256, (5, 8, 8, 3), dtype=np.uint8))
        np.save(arrays / "train_labels.npy", np.zeros((5, 8, 8), np.uint8))
        folder = tmp_path / "stages" / "own"
        folder.mkdir(exist_ok=True)
        data = {"data": [arrays.parent], **inputs}
        return Job(folder, config, data, Settings(device="cpu"))

    return make
