"""What a training costs beyond its network's forward pass, backward pass and optimiser step.

    python benchmarks/speed/training_loop.py

Both sides train the same 1x1 U-Net (width 0.5, channels_last) in turns in one process: a whole
training (data set, sampler, augmentation as in ALDT, loss, curves, checkpoints; the time of the
validation at its end is left out), and the bare step on one batch that is in memory already.
Figures are images per second; the ratio should be at least 0.85.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from im_bench.files import write_json
from im_bench.training.cell import train_cell
from im_bench.training.config import build_config, resolve_device
from im_bench.training.description import IterationBudget, SupervisedTraining
from im_bench.training.memory import keep_freed_memory
from im_bench.training.runner import build_runner
from im_bench.training.specs import AugmentationSpec, ModelSpec

IMAGES = 96


def make_data(folder: Path, size: int) -> Path:
    """Write smooth random images and labels as a ``data`` stage does; return their folder."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((IMAGES, 3, 8, 8), dtype=np.float32))
    fine = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    pixels = fine.clamp(0, 1).mul(255).byte().movedim(1, -1).numpy()
    names = {"train": [f"{i:04d}" for i in range(IMAGES)], "val": ["0000"], "test": ["0000"]}
    folder.mkdir(parents=True)
    for split, chosen in names.items():
        np.save(folder / f"{split}_images.npy", pixels[: len(chosen)])
        np.save(
            folder / f"{split}_labels.npy", (pixels[: len(chosen), ..., 0] > 127).view(np.uint8)
        )
    meta = {
        "space": "binary",
        "classes": ["spot"],
        "outputs": 1,
        "channels": 3,
        "size": [size, size],
        "metric": "iou",
        "labelled": names["train"],
        "names": names,
    }
    write_json(folder / "meta.json", meta)
    return folder


def make_training(iterations: int, batch: int) -> SupervisedTraining:
    """Return a training on augmented images, with as few validations as there can be."""
    return SupervisedTraining(
        batch=batch,
        validations=1,
        seed=0,
        model=ModelSpec(width=0.5),
        part="all",
        copies=10,
        augmentation=AugmentationSpec(),
        budget=IterationBudget(iterations=iterations),
    )


def bare_speed(training: SupervisedTraining, data: Path, device: str, memory_format: Any) -> float:
    """Return the images per second of bare steps on a batch in memory: the median step's."""
    where = resolve_device(device)
    with tempfile.TemporaryDirectory() as folder:
        runner = build_runner(build_config(training, data, Path(folder), device=where))
    model = runner.model.to(memory_format=memory_format).train()
    optimizer = runner.build_optim_wrapper(runner.optim_wrapper).optimizer
    model.init_weights()
    batch = model.data_preprocessor(next(iter(runner.train_dataloader)), training=False)
    inputs = batch["inputs"].contiguous(memory_format=memory_format)
    seconds = []
    for _ in range(runner.max_iters):
        start = time.perf_counter()
        model.loss(inputs, batch["data_samples"])["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        if where.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return len(inputs) / statistics.median(seconds)


def loop_speed(training: SupervisedTraining, data: Path, device: str, threads: int) -> float:
    """Return the images per second of a whole training: the median over its curve."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = train_cell(training, data, Path(folder), device=device, threads=threads)
    return float(outcome["images_per_second"])


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as a training does, so that the bare steps gain from it too
    result: dict[str, Any] = {**vars(arguments), "torch": torch.__version__}
    for size, iterations in ((256, 4), (64, 100)):
        training = make_training(iterations, arguments.batch)
        loops, bares = [], []
        with tempfile.TemporaryDirectory() as folder:
            data = make_data(Path(folder) / "arrays", size)
            for _ in range(arguments.repeats):
                bares.append(bare_speed(training, data, arguments.device, torch.channels_last))
                loops.append(loop_speed(training, data, arguments.device, arguments.threads))
        ratios = [loop / bare for loop, bare in zip(loops, bares, strict=True)]
        result[f"{size}x{size}"] = {
            "loop": round(statistics.median(loops), 1),
            "bare": round(statistics.median(bares), 1),
            "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
