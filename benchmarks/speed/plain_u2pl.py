"""U2PL's step in the order in which the original implementation works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from transcription import (
    CLASSES,
    Losses,
    Raw,
    Transcription,
    loaded_labelled,
    network_logits,
    normalised,
    ohem,
    resized,
)

Draw = Callable[[int, int], Tensor]
"""Draws a number of indices below a count, with replacement."""


class PlainU2PL(Transcription):
    """One step of U2PL in the middle of its training; the losses are those summed.

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
    # Percentiles of the entropy with half of the epochs left: 100 - 20 / 2, 20 / 2, 100 - 20 / 2.
    drop, low, high = 90.0, 10.0, 90.0
    auxiliary_weight = 0.4

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
        maps = self.network.backbone(everything)
        small, features = self._read(self.network, self.head, maps)
        auxiliary = resized(self.network.auxiliary_head(maps)[:count], size)
        labelled, unlabelled = (resized(each, size) for each in small.split(count))
        self.teacher.train()
        self.teacher_head.train()
        with torch.no_grad():
            teacher_small, teacher_features = self._read(
                self.teacher, self.teacher_head, self.teacher.backbone(everything)
            )
            teacher_logits = resized(teacher_small[count:], size)
        return {
            "labelled": ohem(labelled, truth, self.min_kept)
            + self.auxiliary_weight * ohem(auxiliary, truth, self.min_kept),
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
    def _read(network: Any, head: nn.Module, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits and representation of the backbone's maps, at stride 4."""
        joined = network.decode_head.joined(maps)
        logits = network.decode_head.cls_seg(network.decode_head.fusion(joined))
        return logits, head.layers(joined)

    def _unlabelled(self, logits: Tensor, target: Tensor, teacher_logits: Tensor) -> Tensor:
        with torch.no_grad():
            probabilities = teacher_logits.softmax(1)
            entropy = -(probabilities * (probabilities + 1e-10).log()).sum(1)
            limit = np.percentile(entropy[target != 255].numpy().flatten(), self.drop)
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
            low = entropy.le(np.percentile(entropy[valid].numpy().flatten(), self.low)) & valid
            high = entropy.ge(np.percentile(entropy[valid].numpy().flatten(), self.high)) & valid
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
