"""UniMatch's step in the order in which the original implementation works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance, ImageFilter
from torch import Tensor
from transcription import (
    Losses,
    Pixels,
    Raw,
    Transcription,
    loaded_labelled,
    network_logits,
    normalised,
    ohem,
)


class Views(NamedTuple):
    """What the data set gives for unlabelled images.

    Attributes:
        weak: Normalised, (B, 3, H, W).
        strong: Two strong views of the same shape.
        boxes: Where each of them takes the partner, bool (B, H, W).
        ignored: 255 on padding, int64 (B, H, W).
    """

    weak: Tensor
    strong: Sequence[Tensor]
    boxes: Sequence[Tensor]
    ignored: Tensor


class Batch(NamedTuple):
    """What the data loaders give for one step of UniMatch."""

    images: Tensor
    labels: Tensor
    unlabelled: Views
    partner: Views


def strong_view(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a strong view of one image."""
    if rng.random() < 0.8:
        operations: list[Callable[[Image.Image], Image.Image]] = [
            lambda x: ImageEnhance.Brightness(x).enhance(rng.uniform(0.5, 1.5)),
            lambda x: ImageEnhance.Contrast(x).enhance(rng.uniform(0.5, 1.5)),
            lambda x: ImageEnhance.Color(x).enhance(rng.uniform(0.5, 1.5)),
            lambda x: _hue_shifted(x, rng.uniform(-0.25, 0.25)),
        ]
        for index in rng.permutation(len(operations)):
            image = operations[index](image)
    if rng.random() < 0.2:
        image = image.convert("L").convert("RGB")
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 2.0)))
    return image


def _hue_shifted(image: Image.Image, turns: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    shifted = np.asarray(hue) + np.uint8(int(turns * 255) % 256)
    return Image.merge("HSV", (Image.fromarray(shifted), saturation, value)).convert("RGB")


def cutmix_box(size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """Draw where a strong view takes the partner, bool (H, W)."""
    box = torch.zeros(size, dtype=torch.bool)
    if rng.random() > 0.5:
        return box
    height, width = size
    area = rng.uniform(0.02, 0.4) * height * width
    while True:
        ratio = rng.uniform(0.3, 1 / 0.3)
        w, h = int((area / ratio) ** 0.5), int((area * ratio) ** 0.5)
        left, top = rng.integers(0, width), rng.integers(0, height)
        if left + w <= width and top + h <= height:
            box[top : top + h, left : left + w] = True
            return box


def loaded_views(crops: Pixels, rng: np.random.Generator) -> Views:
    """Return what the data set of UniMatch makes of weak crops, one image at a time."""
    weak, strong, boxes = [], [], []
    for crop in crops:
        image = Image.fromarray(crop)
        weak.append(normalised(image))
        strong.append([normalised(strong_view(image, rng)) for _ in range(2)])
        boxes.append([cutmix_box(crop.shape[:2], rng) for _ in range(2)])
    ignored = torch.zeros(crops.shape[:3], dtype=torch.int64)
    return Views(
        torch.stack(weak),
        [torch.stack(each) for each in zip(*strong, strict=True)],
        [torch.stack(each) for each in zip(*boxes, strict=True)],
        ignored,
    )


class PlainUniMatch(Transcription):
    """One step of UniMatch; the losses are those summed, with their weights."""

    threshold = 0.0

    def load(self, raw: Raw, rng: np.random.Generator) -> Batch:
        """Do what the data loaders do: views of labelled, unlabelled and partner images."""
        views = (loaded_views(each, rng) for each in (raw.unlabelled, raw.partner))
        return Batch(*loaded_labelled(raw), *views)

    def losses(self, batch: Batch) -> Losses:
        """Return the losses of a batch."""
        weak, partner, size = batch.unlabelled, batch.partner, batch.images.shape[-2:]
        with torch.no_grad():
            self.network.eval()
            features = self.network.backbone(partner.weak)
            probabilities = network_logits(self.network, features, size).softmax(1)
            partner_confidence, partner_label = probabilities.max(1)
        strong = []
        for view, other, box in zip(weak.strong, partner.strong, weak.boxes, strict=True):
            mixed = view.clone()
            everywhere = box.unsqueeze(1).expand(mixed.shape)
            mixed[everywhere] = other[everywhere]
            strong.append(mixed)

        self.network.train()
        count = len(batch.images)
        fine, *_, coarse = self.network.backbone(torch.cat([batch.images, weak.weak]))
        both = [torch.cat([each, self.perturbed(each)]) for each in (fine, coarse)]
        clean, dropped = network_logits(self.network, both, size).chunk(2)
        labelled, own = clean.split([count, len(weak.weak)])
        dropped = dropped[count:]
        features = self.network.backbone(torch.cat(strong))
        strong_logits = network_logits(self.network, features, size).chunk(2)
        confidence, label = own.detach().softmax(1).max(1)

        terms = []
        for logits, box in zip(strong_logits, weak.boxes, strict=True):
            maps = []
            for mine, other in (
                (label, partner_label),
                (confidence, partner_confidence),
                (weak.ignored, partner.ignored),
            ):
                pasted = mine.clone()
                pasted[box] = other[box]
                maps.append(pasted)
            terms.append(self._taught(logits, *maps))
        return {
            "labelled": 0.5 * ohem(labelled, batch.labels, self.min_kept),
            "strong": 0.5 * 0.25 * (terms[0] + terms[1]),
            "feature": 0.5 * 0.5 * self._taught(dropped, label, confidence, weak.ignored),
        }

    @staticmethod
    def perturbed(features: Tensor) -> Tensor:
        """Drop half of the channels of features."""
        return F.dropout2d(features, 0.5)

    def step(self, batch: Batch) -> None:
        """Make one step."""
        self.update(self.losses(batch))
        share = (batch.unlabelled.ignored != 255).float().mean().item()
        self.meters["valid"] = self.meters.get("valid", 0.0) + share

    def _taught(self, logits: Tensor, label: Tensor, confidence: Tensor, ignored: Tensor) -> Tensor:
        pixel_loss = F.cross_entropy(logits, label, reduction="none")
        pixel_loss = pixel_loss * ((confidence >= self.threshold) & (ignored != 255))
        return pixel_loss.sum() / (ignored != 255).sum().item()
