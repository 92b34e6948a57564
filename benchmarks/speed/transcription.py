"""UniMatch and U2PL in the order in which their original implementations work.

Written for the benchmark from a description of what those do, and deliberately plain: images are
changed one after the other on the CPU by PIL, boxes are pasted by boolean indexing, classes are
looped over, the memory of features is a list of tensors on the host, and every loss is read after
every step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter
from torch import Tensor, nn

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


def normalised(image: Image.Image | Pixels) -> Tensor:
    """Return one image as a normalised tensor (3, H, W)."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float()
    mean, std = (torch.tensor(numbers).view(3, 1, 1) / 255 for numbers in (MEAN, STD))
    return (pixels / 255 - mean) / std


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


class UniMatch(Transcription):
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


Draw = Callable[[int, int], Tensor]
"""Draws a number of indices below a count, with replacement."""


class U2PL(Transcription):
    """One step of U2PL in its first epoch; the losses are those summed.

    Args:
        network: The student.
        head: Its representation head.
        teacher: The average of the student.
        teacher_head: That of the head.
        capacity: Rows of memory of each class.
        contrastive_weight: Factor of the contrastive loss.
        rest: Of :class:`Transcription`.
    """

    queries, negatives, temperature = 256, 50, 0.5
    low_rank, high_rank = 3, 20

    def __init__(
        self,
        network: Any,
        head: nn.Module,
        teacher: Any,
        teacher_head: nn.Module,
        capacity: Sequence[int],
        contrastive_weight: float,
        **rest: Any,
    ) -> None:
        super().__init__(network, **rest)
        self.head, self.teacher, self.teacher_head = head, teacher, teacher_head
        self.capacity, self.contrastive_weight = capacity, contrastive_weight
        self.bank = [torch.zeros(0, 256) for _ in capacity]
        self.draw: Draw = lambda count, number: torch.randint(count, (number,))

    def load(self, raw: Raw, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Do what the data loaders do; return labelled images, labels and unlabelled images."""
        unlabelled = torch.stack([normalised(Image.fromarray(each)) for each in raw.unlabelled])
        return (*loaded_labelled(raw), unlabelled)

    def boxes(self, shape: Sequence[int], rng: np.random.Generator) -> Tensor | None:
        """Draw where each image takes the next one, bool (B, H, W), or None: nowhere."""
        if rng.random() < 0.5:
            return None
        count, height, width = shape
        boxes = torch.zeros(count, height, width, dtype=torch.bool)
        for box in boxes:
            w = int(rng.integers(width // 2 + 1, width))
            h = round(height * width / 2 / w)
            top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
            box[top : top + h, left : left + w] = True
        return boxes

    def losses(self, images: Tensor, truth: Tensor, weak: Tensor, box: Tensor | None) -> Losses:
        """Return the losses of a batch."""
        count, size = len(images), images.shape[-2:]
        self.teacher.eval()
        logits = network_logits(self.teacher, self.teacher.backbone(weak), size)
        label = logits.softmax(1).max(1).indices
        if box is not None:
            mixed, labels = [], []
            for i in range(len(weak)):
                following = (i + 1) % len(weak)
                inside = box[i].float()
                mixed.append(weak[i] * (1 - inside) + weak[following] * inside)
                labels.append(torch.where(box[i], label[following], label[i]))
            weak, label = torch.stack(mixed), torch.stack(labels)

        everything = torch.cat([images, weak])
        small, features = self._read(self.network, self.head, everything)
        labelled, unlabelled = (resized(each, size) for each in small.split(count))
        self.teacher.train()
        self.teacher_head.train()
        with torch.no_grad():
            teacher_small, teacher_features = self._read(
                self.teacher, self.teacher_head, everything
            )
            teacher_logits = resized(teacher_small[count:], size)
        return {
            "labelled": ohem(labelled, truth, self.min_kept),
            "unlabelled": self._unlabelled(unlabelled, label.clone(), teacher_logits),
            "contrastive": self.contrastive_weight
            * self._contrastive(
                features, teacher_features, teacher_small, teacher_logits, truth, label
            ),
        }

    def step(self, loaded: tuple[Tensor, Tensor, Tensor], rng: np.random.Generator) -> None:
        """Make one step; the teacher follows."""
        self.network.train()
        self.head.train()
        box = self.boxes((len(loaded[2]), *loaded[2].shape[-2:]), rng)
        self.update(self.losses(*loaded, box))
        with torch.no_grad():
            for average, module in (
                (self.teacher, self.network),
                (self.teacher_head, self.head),
            ):
                for mine, other in zip(average.parameters(), module.parameters(), strict=True):
                    mine.data = 0.99 * mine.data + (1 - 0.99) * other.data

    @staticmethod
    def _read(network: Any, head: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and representation at the network's resolution."""
        decode_head = network.decode_head
        embedding = decode_head.fusion(decode_head.joined(network.backbone(images)))
        return decode_head.cls_seg(embedding), head(embedding, images.shape[-2:])

    def _unlabelled(self, logits: Tensor, target: Tensor, teacher_logits: Tensor) -> Tensor:
        with torch.no_grad():
            probabilities = teacher_logits.softmax(1)
            entropy = -(probabilities * (probabilities + 1e-10).log()).sum(1)
            limit = np.percentile(entropy[target != 255].numpy().flatten(), 80.0)
            target[(entropy >= limit) & (target != 255)] = 255
            weight = target.numel() / (target != 255).sum()
        return weight * F.cross_entropy(logits, target, ignore_index=255)

    @torch.no_grad()
    def _hot(self, labels: Tensor, size: Sequence[int]) -> Tensor:
        """Return the classes of pixels as the original mistakes them, (B, K, h, w)."""
        hot = torch.zeros(CLASSES, *labels.shape)
        counted = labels.masked_fill(labels == 255, 0)
        for each in counted:
            hot[:, 0].scatter_(0, each.unsqueeze(0), 1.0)
        hot[labels.expand_as(hot) == 255] = 0
        return F.interpolate(hot.transpose(0, 1), tuple(size), mode="nearest")

    def _contrastive(
        self,
        features: Tensor,
        teacher_features: Tensor,
        teacher_small: Tensor,
        teacher_logits: Tensor,
        truth: Tensor,
        label: Tensor,
    ) -> Tensor:
        size = features.shape[-2:]
        with torch.no_grad():
            probabilities = teacher_logits.softmax(1)
            entropy = -(probabilities * (probabilities + 1e-10).log()).sum(1)
            valid = label != 255
            low = entropy.le(np.percentile(entropy[valid].numpy().flatten(), 20.0)) & valid
            high = entropy.ge(np.percentile(entropy[valid].numpy().flatten(), 80.0)) & valid
            reliable, unreliable = (
                F.interpolate(
                    torch.cat([truth != 255, each]).float().unsqueeze(1), size, mode="nearest"
                )
                for each in (low, high)
            )
            hot = torch.cat([self._hot(each, size) for each in (truth, label)])
            probabilities = teacher_small.softmax(1)

        labelled = len(truth)
        pixels = features.permute(0, 2, 3, 1)
        teacher_pixels = teacher_features.permute(0, 2, 3, 1)
        order = probabilities.permute(0, 2, 3, 1).sort(-1, descending=True).indices
        anchors, positives, present = [], [], []
        for k in range(CLASSES):
            own = (hot[:, k] * reliable[:, 0]).bool()
            anchors.append(pixels[own & (probabilities[:, k] > 0.3)])
            positives.append(teacher_pixels[own].mean(0, keepdim=True))
            wrong = (order[:labelled, ..., : self.low_rank] == k).any(-1)
            wrong = wrong & ~hot[:labelled, k].bool()
            improbable = (order[labelled:, ..., self.low_rank : self.high_rank] == k).any(-1)
            chosen = (hot[:, k] * unreliable[:, 0]).bool() & (probabilities[:, k] < 1)
            keys = teacher_pixels[chosen & torch.cat([wrong, improbable])]
            self.bank[k] = torch.cat([self.bank[k], keys.cpu()])[-self.capacity[k] :]
            if own.sum().item() > 0:
                present.append(k)
        if len(present) < 2:
            return features.sum() * 0
        total = torch.tensor(0.0)
        for j, k in enumerate(present):
            if not len(anchors[j]) or not len(self.bank[k]):
                continue
            anchor = anchors[j][self.draw(len(anchors[j]), self.queries)]
            rows = self.bank[k].to(features.device)
            rows = rows[self.draw(len(rows), self.queries * self.negatives)]
            rows = rows.view(self.queries, self.negatives, -1)
            positive = positives[j].expand(self.queries, 1, -1)
            similarity = F.cosine_similarity(
                anchor.unsqueeze(1), torch.cat([positive, rows], 1), dim=2
            )
            zeros = torch.zeros(self.queries, dtype=torch.int64)
            total = total + F.cross_entropy(similarity / self.temperature, zeros)
        return total / len(present)
