"""What making labels with Inconsistency Masks costs beyond the teachers' forward passes.

    python benchmarks/speed/pseudo_labels.py

Both sides run in one process on the same images, in turns: the whole pseudo-label stage (read the
images, two teachers, consensus, masks, blanking, the samples, writing the arrays), and the two
teachers' forward passes alone on batches that are in memory already.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from im_bench.data.label_spaces import label_space
from im_bench.files import write_json
from im_bench.runner.job import Job, Settings
from im_bench.schedules.inconsistency_masks import InconsistencyMasks
from im_bench.stages import pseudo_label
from im_bench.stages.pseudo_label import BATCH
from im_bench.training.config import build_config
from im_bench.training.description import IterationBudget, SupervisedTraining
from im_bench.training.inference import load_model
from im_bench.training.runner import build_runner
from im_bench.training.specs import ModelSpec

IMAGES, LABELLED, SIZE, REPEATS = 520, 8, 256, 3


def make_data(folder: Path) -> None:
    """Write smooth random images, whose labels do not matter, as a ``data`` stage does."""
    rng = np.random.default_rng(0)
    names = [f"{i:04d}" for i in range(IMAGES)]
    coarse = rng.random((IMAGES, 8, 8, 3), dtype=np.float32)
    images = torch.nn.functional.interpolate(
        torch.from_numpy(coarse).movedim(-1, 1), size=(SIZE, SIZE), mode="bicubic"
    )
    pixels = images.clamp(0, 1).mul(255).byte().movedim(1, -1).numpy()
    folder.mkdir(parents=True)
    for split, count in (("train", IMAGES), ("val", 4), ("test", 4)):
        np.save(folder / f"{split}_images.npy", pixels[:count])
        np.save(folder / f"{split}_labels.npy", (pixels[:count, ..., 0] > 127).astype(np.uint8))
    write_json(
        folder / "meta.json",
        {
            "name": "noise",
            "space": "binary",
            "classes": ["spot"],
            "outputs": 1,
            "channels": 3,
            "size": [SIZE, SIZE],
            "cells": None,
            "metric": "iou",
            "labelled": names[:LABELLED],
            "names": {"train": names, "val": names[:4], "test": names[:4]},
        },
    )


def make_teacher(folder: Path, data: Path, seed: int) -> None:
    """Write an untrained network as a ``train`` stage does: its speed is that of a trained one."""
    training = SupervisedTraining(
        seed=seed, model=ModelSpec(width=0.5), budget=IterationBudget(iterations=1)
    )
    folder.mkdir(parents=True)
    runner = build_runner(build_config(training, data, folder))
    runner.model.init_weights()
    torch.save({"state_dict": runner.model.state_dict()}, folder / "best.pth")
    write_json(folder / "stage.json", {"config": training.model_dump(mode="json")})
    write_json(folder / "result.json", {"outcome": {"val": {"iou": 0.5}}})


def main(threads: int) -> dict[str, object]:
    """Measure both sides and return the figures."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        data = root / "data" / "arrays"
        make_data(data)
        candidates = [root / f"teacher{i}" for i in (1, 2)]
        for seed, folder in enumerate(candidates):
            make_teacher(folder, data, seed)
        config = {**InconsistencyMasks(image_filter="none").labelling(), "seed": 0}
        teachers = [load_model(folder, data, "cpu") for folder in candidates]
        images = torch.from_numpy(np.load(data / "train_images.npy")[LABELLED:])
        batches = [
            teachers[0].data_preprocessor({"inputs": part})["inputs"]
            for part in images.split(BATCH)
        ]
        space = label_space("binary", 1)
        forward, stage = [], []
        for repeat in range(REPEATS + 1):
            start = time.perf_counter()
            with torch.inference_mode():
                for batch in batches:
                    for teacher in teachers:
                        space.discretise(teacher.probabilities(batch))
            middle = time.perf_counter()
            out = root / f"labels{repeat}"
            out.mkdir()
            inputs = {"data": [data.parent], "candidates": candidates}
            pseudo_label.run(Job(out, config, inputs, Settings("cpu", threads)))
            end = time.perf_counter()
            if repeat:  # the first round warms up
                forward.append(middle - start)
                stage.append(end - middle)
    return {
        "images": IMAGES - LABELLED,
        "size": SIZE,
        "threads": threads,
        "forward_seconds": round(statistics.median(forward), 3),
        "stage_seconds": round(statistics.median(stage), 3),
        "ratio": round(statistics.median(s / f for s, f in zip(stage, forward, strict=True)), 3),
    }


if __name__ == "__main__":
    print(json.dumps(main(threads=1), indent=2))
