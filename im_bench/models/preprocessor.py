"""From a batch of bytes to what a network takes, on the network's device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from mmseg.registry import MODELS
from torch import Tensor

from im_bench.data.augment import Augmentation, augment, generator_at
from im_bench.data.seeds import process_seed


@MODELS.register_module()
class BatchPreprocessor(BaseDataPreprocessor):
    """Move a uint8 batch to the device, augment it when training, and scale it to 0..1.

    It takes ``{"inputs": images, "data_samples": labels}``. Images are (B, H, W, C), or
    (B, C, H, W), or a list of (C, H, W) as MMSegmentation's pipelines give. Labels are (B, H, W),
    or a list of ``SegDataSample``, or None; they stay bytes, and lists of them are not augmented.

    Attributes:
        iteration: Of the training; with the seed it determines the augmentation. Whoever runs the
            training sets it before each step.

    Args:
        augmentation: Fields of :class:`~im_bench.data.augment.Augmentation`, or None for none.
        seed: Of the augmentation.
        mean: Subtracted from the channels, on the scale of 0..255 as in MMSegmentation's configs.
        std: Divides the channels, on the same scale. Without mean and std images go to 0..1.
        bgr_to_rgb: Reverse the channels first: MMSegmentation's pipelines give BGR.
    """

    def __init__(
        self,
        augmentation: Mapping[str, Any] | None = None,
        seed: int = 0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr_to_rgb: bool = False,
    ) -> None:
        super().__init__(non_blocking=True)
        self.bgr_to_rgb = bgr_to_rgb
        self.augmentation = None if augmentation is None else Augmentation(**augmentation)
        self.seed = seed
        self.iteration = 0
        self.register_buffer("mean", _per_channel(mean, 0.0), persistent=False)
        self.register_buffer("std", _per_channel(std, 255.0), persistent=False)

    def forward(self, data: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """Return ``{"inputs": float32 (B, C, H, W) in channels_last, "data_samples": labels}``."""
        images, labels = data["inputs"], data.get("data_samples")
        if not isinstance(images, Tensor):
            images = torch.stack(list(images))
        images, labels = self.cast_data((images, labels))
        if images.shape[-1] > 4:  # no image has so many channels: these are columns
            images = images.permute(0, 2, 3, 1)
        if training and self.augmentation is not None and isinstance(labels, Tensor):
            generator = generator_at(process_seed(self.seed), self.iteration, images.device)
            images, labels = augment(images, labels, self.augmentation, generator)
        if self.bgr_to_rgb:
            images = images.flip(-1)
        # (B, H, W, C) in memory is (B, C, H, W) in channels_last: no copy is needed.
        x = images.permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
        return {"inputs": (x - self.mean) / self.std, "data_samples": labels}


def _per_channel(numbers: Sequence[float] | None, default: float) -> Tensor:
    return torch.tensor([default] if numbers is None else list(numbers)).view(1, -1, 1, 1)
