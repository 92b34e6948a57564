"""How much faster a training is than with a classic loader.

    python benchmarks/speed/classic_loader.py

Both sides train the same 1x1 U-Net, in turns, each in its own process: a whole training of this
project, and a loop as the original and MMSegmentation have it: each image is read from its PNG
file, flipped, turned, brightened, blurred and given noise by OpenCV and NumPy in one of two worker
processes, the network's memory format is the default one, and the loss is read after each step.
Figures are images per second; the ratio should be at least 3. To tell where the time goes, two more
are measured: the workers alone, and the step alone in the default memory format.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from training_loop import bare_speed, loop_speed, make_data, make_training

from im_bench.data.augment import Augmentation
from im_bench.training.config import build_config, resolve_device
from im_bench.training.description import SupervisedTraining
from im_bench.training.runner import build_runner

WORKERS = 2


class PngDataset(Dataset[tuple[Tensor, Tensor]]):
    """Reads and augments one image at a time, by the operations of the original."""

    def __init__(self, folder: Path, count: int, augmentation: Augmentation) -> None:
        self._folder, self._count, self._augmentation = folder, count, augmentation

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = cv2.cvtColor(cv2.imread(str(self._folder / f"{index}.png")), cv2.COLOR_BGR2RGB)
        label = cv2.imread(str(self._folder / f"{index}-label.png"), cv2.IMREAD_GRAYSCALE)
        ranges, rng = self._augmentation, np.random.default_rng()
        for axis in (0, 1):
            if rng.random() < 0.5:
                image, label = np.flip(image, axis), np.flip(label, axis)
        turns = rng.integers(4)
        image = np.ascontiguousarray(np.rot90(image, turns))
        label = np.ascontiguousarray(np.rot90(label, turns))
        if rng.random() < 0.5:
            alpha = rng.uniform(*ranges.contrast)
            beta = rng.uniform(-ranges.brightness, ranges.brightness)
            image = cv2.convertScaleAbs(image, alpha=alpha, beta=beta)
        if level := rng.integers(ranges.blur + 1):
            image = cv2.GaussianBlur(image, (2 * level + 1, 2 * level + 1), 0)
        noise = rng.integers(-ranges.noise, ranges.noise, image.shape)
        image = np.clip(image.astype(int) + noise, 0, 255).astype(np.float32) / 255
        return torch.from_numpy(image).permute(2, 0, 1).contiguous(), torch.from_numpy(label)


def write_pngs(data: Path, folder: Path) -> int:
    """Write packed training arrays as PNG files; return how many images there are."""
    folder.mkdir()
    images, labels = np.load(data / "train_images.npy"), np.load(data / "train_labels.npy")
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        cv2.imwrite(str(folder / f"{index}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        cv2.imwrite(str(folder / f"{index}-label.png"), label)
    return len(images)


def classic_batches(dataset: PngDataset, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches without end from worker processes that stay."""
    loader = DataLoader(
        dataset, batch, shuffle=True, drop_last=True, num_workers=WORKERS, persistent_workers=True
    )
    while True:
        yield from loader


def classic_speed(
    training: SupervisedTraining, data: Path, dataset: PngDataset, device: str
) -> float:
    """Return the images per second of a classic training, after its first step."""
    where = resolve_device(device)
    with tempfile.TemporaryDirectory() as folder:
        runner = build_runner(build_config(training, data, Path(folder), device=where))
    model = runner.model.to(memory_format=torch.contiguous_format).train()
    optimizer = runner.build_optim_wrapper(runner.optim_wrapper).optimizer
    model.init_weights()
    batches = classic_batches(dataset, training.batch)
    start = time.perf_counter()
    for step in range(runner.max_iters + 1):
        images, labels = next(batches)
        loss = model.loss(images.to(where), labels.to(where))["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        if step == 0:  # the workers have started
            start = time.perf_counter()
    return training.batch * step / (time.perf_counter() - start)


def loading_speed(dataset: PngDataset, batch: int) -> float:
    """Return the images per second that the workers give when nothing else runs."""
    batches = classic_batches(dataset, batch)
    next(batches)
    start, steps = time.perf_counter(), 2 * len(dataset) // batch
    for _ in range(steps):
        next(batches)
    return batch * steps / (time.perf_counter() - start)


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    # Its own process: the settings of this project's trainings must not reach it.
    classic = ProcessPoolExecutor(
        1,
        mp_context=get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(arguments.threads,),
    )
    result: dict[str, Any] = {**vars(arguments), "workers": WORKERS, "torch": torch.__version__}
    for size, iterations in ((256, 3), (64, 30)):
        training = make_training(iterations, arguments.batch)
        speeds: dict[str, list[float]] = {"ours": [], "classic": []}
        with tempfile.TemporaryDirectory() as name:
            data = make_data(Path(name) / "arrays", size)
            count = write_pngs(data, Path(name) / "pngs")
            dataset = PngDataset(Path(name) / "pngs", count, Augmentation())
            for _ in range(arguments.repeats):
                speeds["ours"].append(
                    loop_speed(training, data, arguments.device, arguments.threads)
                )
                speeds["classic"].append(
                    classic.submit(
                        classic_speed, training, data, dataset, arguments.device
                    ).result()
                )
            step = classic.submit(
                bare_speed, training, data, arguments.device, torch.contiguous_format
            ).result()
            loading = loading_speed(dataset, arguments.batch)
        ratios = [a / b for a, b in zip(speeds["ours"], speeds["classic"], strict=True)]
        result[f"{size}x{size}"] = {
            **{name: round(statistics.median(each), 1) for name, each in speeds.items()},
            "ratio": round(statistics.median(ratios), 2),
            "ratios": [round(ratio, 2) for ratio in ratios],
            "classic step alone": round(step, 1),
            "classic workers alone": round(loading, 1),
        }
    classic.shutdown()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
