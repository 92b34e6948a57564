"""What the first weights of the decoder are worth: short supervised trainings from random weights.

    python benchmarks/first_weights.py --data .../camvid701

UniMatch's network (ResNet-50 at output stride 16, no ImageNet weights) learns from batches of 4
crops of 97x97 of CamVid at half its size (240x180), once with the decoder as the original code
starts it (``official``: PyTorch's draw) and once as MMCV's and MMSegmentation's layers start
(``mmcv``), for each seed. Both see the same crops. Printed as JSON: the loss, and the mIoU of every
third validation image in per cent, each 40 iterations.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from PIL import Image
from torch import Tensor

from im_bench.data.transforms import draw_scale_crop
from im_bench.evaluation.overlap import confusion_matrices
from im_bench.training.memory import keep_freed_memory

CONFIG = Path(__file__).parents[1] / "mm_configs/_base_/models/deeplabv3plus_r50_unimatch.py"
CLASSES, IGNORED, VOID = 11, 255, 11
MEAN, STD = (
    torch.tensor(each).view(3, 1, 1) for each in ((123.7, 116.3, 103.5), (58.4, 57.1, 57.4))
)
STARTS: dict[str, Any] = {
    "official": None,
    "mmcv": [
        {"type": "Kaiming", "layer": "Conv2d"},
        {"type": "Normal", "std": 0.01, "override": {"name": "conv_seg"}},
    ],
}
RATE, BATCH, CROP, INTERVAL = 0.01, 4, 97, 40


def build(start: str, seed: int) -> Any:
    """Return the network with its first weights; the backbone's depend on the seed only."""
    config = Config.fromfile(CONFIG).model
    config.pop("data_preprocessor")
    config.backbone.init_cfg = None
    config.decode_head.update(num_classes=CLASSES, init_cfg=STARTS[start])
    torch.manual_seed(seed)
    model = revert_sync_batchnorm(MODELS.build(config))
    model.backbone.init_weights()
    torch.manual_seed(seed)
    model.decode_head.init_weights()
    return model.to(memory_format=torch.channels_last)


def read(folder: Path, split: str, step: int = 1) -> list[tuple[Any, Any]]:
    """Return images uint8 (H, W, 3) and labels uint8 (H, W), 255 where there is none."""
    files = sorted((folder / "images" / split).iterdir())[::step]
    pairs = []
    for file in files:
        image = Image.open(file).convert("RGB").reduce(2)
        mask = Image.open(folder / "labels" / split / f"{file.stem}.png")
        label = np.array(mask.resize(image.size, Image.Resampling.NEAREST))
        label[label == VOID] = IGNORED
        pairs.append((np.array(image), label))
    return pairs


def normalised(images: list[Any]) -> Tensor:
    """Return images as a normalised batch (B, 3, H, W)."""
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    return ((batch - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def logits_of(model: Any, images: Tensor) -> Tensor:
    """Return logits (B, C, H, W)."""
    logits = model.decode_head(model.backbone(images))
    return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=True)


@torch.no_grad()
def evaluate(model: Any, pairs: list[tuple[Any, Any]]) -> float:
    """Return the mIoU over all images in per cent, of whole images."""
    model.eval()
    total = torch.zeros(CLASSES, CLASSES)
    for image, label in pairs:
        predicted = logits_of(model, normalised([image])).argmax(1)
        total += confusion_matrices(predicted, torch.from_numpy(label)[None], CLASSES)[0]
    model.train()
    right = total.diagonal()
    return float(100 * (right / (total.sum(0) + total.sum(1) - right)).nanmean())


def train(start: str, seed: int, data: Path, iterations: int) -> dict[str, list[float]]:
    """Return the mean loss and the mIoU each 40 iterations."""
    train_set, val_set = read(data, "train"), read(data, "val", step=3)
    model = build(start, seed).train()
    optimiser = torch.optim.SGD(model.parameters(), RATE, momentum=0.9, weight_decay=1e-4)
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {"loss": [], "miou": []}
    recent = []
    for iteration in range(iterations):
        optimiser.param_groups[0]["lr"] = RATE * (1 - iteration / iterations) ** 0.9
        images, labels = [], []
        for index in rng.choice(len(train_set), BATCH, replace=False):
            image, label = train_set[index]
            draw = draw_scale_crop(rng, image.shape[1::-1], (CROP, CROP))
            images.append(draw.image(image))
            labels.append(draw.map(label, IGNORED))
        target = torch.from_numpy(np.stack(labels)).long()
        loss = F.cross_entropy(logits_of(model, normalised(images)), target, ignore_index=IGNORED)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        recent.append(loss.item())
        if (iteration + 1) % INTERVAL == 0:
            found["loss"].append(round(float(np.mean(recent)), 3))
            found["miou"].append(round(evaluate(model, val_set), 1))
            recent = []
    return found


def main() -> None:
    """Train with both starts and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=80)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    MMLogger.get_current_instance().setLevel("ERROR")
    torch.set_num_threads(1)
    keep_freed_memory()
    for seed in options.seeds:
        for start in STARTS:
            result = train(start, seed, options.data, options.iterations)
            print(json.dumps({"start": start, "seed": seed, **result}), flush=True)


if __name__ == "__main__":
    main()
