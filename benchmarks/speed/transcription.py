"""What the transcriptions of UniMatch and U2PL share: loading, the labelled loss, the update.

They were written for the benchmark from a description of what the original implementations do, and
are deliberately plain: images are changed one after the other on the CPU by PIL, boxes are pasted
by boolean indexing, classes are looped over, the memory of features is a list of tensors on the
host, and every loss is read after every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Pixels = NDArray[np.uint8]
Losses = dict[str, Tensor]

CLASSES = 19
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Raw(NamedTuple):
    """Weak crops as they come from the files: images uint8 (B, H, W, 3), labels (B, H, W)."""

    labelled: Pixels
    labels: Pixels
    unlabelled: Pixels
    partner: Pixels


def normalised(image: Image.Image | Pixels) -> Tensor:
    """Return one image as a normalised tensor (3, H, W)."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float()
    mean, std = (torch.tensor(numbers).view(3, 1, 1) / 255 for numbers in (MEAN, STD))
    return (pixels / 255 - mean) / std


def loaded_labelled(raw: Raw) -> tuple[Tensor, Tensor]:
    """Return labelled images, normalised, and their labels, int64 (B, H, W)."""
    images = torch.stack([normalised(Image.fromarray(image)) for image in raw.labelled])
    return images, torch.from_numpy(raw.labels).long()


def network_logits(network: Any, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """Return a network's logits of some features, resized to the images."""
    return resized(network.decode_head(features), size)


def resized(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Return logits of the size of the images."""
    return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=True)


def ohem(logits: Tensor, target: Tensor, min_kept: int, threshold: float = 0.7) -> Tensor:
    """Return the labelled loss: the mean over hard pixels."""
    truth, valid = target.flatten(), target.flatten() != 255
    if min_kept <= int(valid.sum()) and bool(valid.any()):
        by_class = logits.softmax(1).transpose(0, 1).flatten(1)
        probability = by_class[truth * valid.long(), torch.arange(len(truth))]
        probability = probability.masked_fill(~valid, 1.0)
        limit = max(threshold, probability.sort().values[min(len(truth), min_kept) - 1].item())
        truth = truth.masked_fill(probability > limit, 255)
    return F.cross_entropy(logits, truth.view_as(target), ignore_index=255)


class Transcription:
    """What both methods share: the step around the losses.

    Args:
        network: The student.
        optimiser: Of its parameters.
        min_kept: Pixels of a batch that are hard at least.
    """

    def __init__(self, network: Any, optimiser: torch.optim.Optimizer, min_kept: int) -> None:
        self.network, self.optimiser, self.min_kept = network, optimiser, min_kept
        self.meters: dict[str, float] = {}

    def update(self, losses: Losses) -> None:
        """Make the optimiser's step on the sum of the losses, then read each of them."""
        total = torch.stack(list(losses.values())).sum()
        self.optimiser.zero_grad()
        total.backward()
        self.optimiser.step()
        for name, loss in {"total": total, **losses}.items():
            self.meters[name] = self.meters.get(name, 0.0) + loss.item()
