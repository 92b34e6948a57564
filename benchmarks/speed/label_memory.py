"""How much memory the labelling of many images takes: it should not grow with their number.

    python benchmarks/speed/label_memory.py --images 20000 --size 512

Two teachers of one 1x1 convolution each label drawn images as the ``pseudo-label`` stage does. What
is printed is the anonymous memory of the process (files that are mapped into it do not count) after
each tenth of the images.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor

from im_bench.files import write_json
from im_bench.models.checkpoints import save_checkpoint
from im_bench.runner.job import Job, Settings
from im_bench.schedules.inconsistency_masks import InconsistencyMasks
from im_bench.stages import pseudo_label
from im_bench.training.config import build_config
from im_bench.training.description import IterationBudget, SupervisedTraining
from im_bench.training.runner import build_runner
from im_bench.training.specs import ModelSpec

DRAWN = 64  # different images, which come again turned and shifted


@MODELS.register_module()
class Pixelwise(BaseModule):
    """A backbone of one 1x1 convolution."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 4, 1)

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        """Return one map of features (B, 4, H, W)."""
        return (self.layer(inputs),)


def make_data(folder: Path, count: int, size: int) -> None:
    """Write drawn images, whose labels do not matter, as a ``data`` stage does."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    drawn = rng.integers(20, 60, (DRAWN, size, size, 3), dtype=np.uint8)
    for image in drawn:
        y, x = rng.integers(size // 4, 3 * size // 4, 2)
        image[(rows - y) ** 2 + (columns - x) ** 2 < (size // 8) ** 2] += 140
    for part, number in (("train", count), ("val", 2), ("test", 2)):
        with (folder / f"{part}_images.npy").open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (number, size, size, 3)}
            np.lib.format.write_array_header_1_0(file, header)
            for index in range(number):
                image = np.roll(drawn[index % DRAWN], int(rng.integers(size)), axis=1)
                file.write(image.tobytes())
        np.lib.format.open_memmap(
            folder / f"{part}_labels.npy", "w+", np.uint8, (number, size, size)
        )
    names = [f"{index:06d}" for index in range(count)]
    meta = {
        "name": "drawn",
        "space": "binary",
        "classes": ["disc"],
        "outputs": 1,
        "channels": 3,
        "size": [size, size],
        "cells": None,
        "metric": "iou",
        "labelled": names[:10],
        "names": {"train": names, "val": names[:2], "test": names[:2]},
    }
    write_json(folder / "meta.json", meta)


def make_teacher(folder: Path, data: Path, seed: int) -> None:
    """Write an untrained network as a ``train`` stage does."""
    head = {"type": "FCNHead", "in_channels": 4, "channels": 4, "num_convs": 0, "in_index": 0}
    model = ModelSpec(backbone={"type": "Pixelwise"}, decode_head={**head, "concat_input": False})
    training = SupervisedTraining(seed=seed, model=model, budget=IterationBudget(iterations=1))
    folder.mkdir(parents=True)
    runner = build_runner(build_config(training, data, folder))
    runner.model.init_weights()
    save_checkpoint(folder / "best.pth", {"state_dict": runner.model.state_dict()})
    write_json(folder / "stage.json", {"config": training.model_dump(mode="json")})
    write_json(folder / "result.json", {"outcome": {"val": {"iou": 0.5}}})


def anonymous_mib() -> float:
    """Return the anonymous memory of this process, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--folder", help="where the images are written; default: a temporary one")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        root = Path(name)
        data = root / "data" / "arrays"
        make_data(data, arguments.images, arguments.size)
        candidates = [root / f"teacher{i}" for i in (1, 2)]
        for seed, folder in enumerate(candidates):
            make_teacher(folder, data, seed)
        config = InconsistencyMasks(image_filter="none").labelling()
        inputs = {"data": [data.parent], "candidates": candidates}
        job = Job(root / "labels", config, inputs, Settings(device="cpu"))
        job.folder.mkdir()
        memory: list[int] = []

        def told(step: int, total: int, **numbers: float) -> None:
            if step * 10 // total >= len(memory):
                memory.append(round(anonymous_mib()))

        job.progress = told  # type: ignore[method-assign]
        start = time.perf_counter()
        outcome = pseudo_label.run(job)
        seconds = time.perf_counter() - start
        result = {
            "images": outcome["unlabelled"],
            "size": arguments.size,
            "MiB after each tenth": memory,
            "seconds": round(seconds, 1),
            "labels on disk, MiB": round((job.folder / "labels.npy").stat().st_size / 2**20),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
