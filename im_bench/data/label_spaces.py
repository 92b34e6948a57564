"""Label spaces: all that depends on whether a task is binary, multi-class or multi-label.

A network gives logits of shape (B, C, H, W); a label map is one byte per pixel of shape (B, H, W).
A label space is the bridge between the two. Nothing here synchronises with the device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from im_bench.errors import ImBenchError, unknown_name

IGNORED = 255
"""The label byte of pixels that do not count (binary and multi-class)."""


class LabelSpace(ABC):
    """How logits, probabilities and label bytes of one kind of task belong together.

    Attributes:
        kind: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        outputs: Number of channels C of the network's output.
    """

    kind: str

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs

    @abstractmethod
    def activate(self, logits: Tensor) -> Tensor:
        """Turn logits (B, C, H, W) into float32 probabilities of the same shape."""

    @abstractmethod
    def discretise(self, probabilities: Tensor) -> Tensor:
        """Turn probabilities (B, C, H, W) into label bytes (B, H, W), uint8."""

    @abstractmethod
    def confidence(self, probabilities: Tensor) -> Tensor:
        """Return the probability of the most probable label byte, (B, H, W), in 0..1."""

    @abstractmethod
    def entropy(self, probabilities: Tensor) -> Tensor:
        """Return the entropy of the distribution over label bytes, (B, H, W), in nats."""

    @abstractmethod
    def one_hot(self, labels: Tensor) -> Tensor:
        """Turn label bytes (B, H, W) into 0/1 channels (B, C, H, W), float32.

        An ignored pixel is 0 in every channel.
        """

    def valid(self, labels: Tensor) -> Tensor:
        """Return which pixels of (B, H, W) count, as bool."""
        return labels != IGNORED

    def loss(self, logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the training loss, a float32 scalar (also under autocast).

        It is the mean over the channels and over the valid pixels of the batch. Weights multiply
        the terms but leave the denominator, the number of valid pixels, as it is: a pixel of
        weight 0 lowers the loss instead of making the others count more. Without any valid pixel
        the loss is 0.

        Args:
            logits: Network output (B, C, H, W), of any floating type.
            labels: Label bytes (B, H, W).
            weight: Factor per pixel (B, H, W), or None for 1.
        """
        per_pixel = self.pixel_loss(logits, labels)
        if weight is not None:
            per_pixel = per_pixel * weight.float()
        return per_pixel.sum() / self.valid(labels).sum().clamp(min=1)

    def pixel_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the training loss of each pixel, float32 (B, H, W), also under autocast.

        It is the mean over the channels, and 0 at ignored pixels.
        """
        with torch.autocast(logits.device.type, enabled=False):
            return self._loss_per_pixel(logits.float(), labels).where(self.valid(labels), 0.0)

    @property
    def groups(self) -> int:
        """Number of independent softmaxes that make up the space: 1, or one per class."""
        return 1

    @property
    def label_count(self) -> int:
        """Number of label bytes, which count from 0, without the ignored one."""
        return int(2**self.outputs)

    @abstractmethod
    def categorical(self, logits: Tensor) -> Tensor:
        """Turn logits (B, C, H, W) into logits of softmaxes, float32 (B * groups, K, H, W).

        Their probabilities are those of the space: a multi-class space is one softmax over its
        classes, a sigmoid is a softmax over two. What is written for a softmax so works in every
        space. The groups of one image stand together.
        """

    @abstractmethod
    def from_categorical(self, probabilities: Tensor) -> Tensor:
        """Turn probabilities of the softmaxes into those of the space.

        Args:
            probabilities: Of what :meth:`categorical` returns, float32 (B * groups, K, H, W).

        Returns:
            What :meth:`activate` returns, float32 (B, C, H, W).
        """

    @abstractmethod
    def categories(self, labels: Tensor) -> Tensor:
        """Turn label bytes (B, H, W) into class indices of :meth:`categorical`.

        Returns:
            int64 (B * groups, H, W), 255 where ignored.
        """

    @abstractmethod
    def _loss_per_pixel(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss (B, H, W), averaged over channels; finite at ignored pixels."""


class _SigmoidSpace(LabelSpace):
    """What binary and multi-label spaces share: one sigmoid per channel.

    Args:
        outputs: Number of sigmoids.
        loss: ``"mse"``, the mean squared error of the probability (the original's choice for ISIC
            and HeLa), or ``"bce"``, binary cross-entropy.
        target_scale: Factor of the 0/1 target of each channel. The original multiplies the target
            of HeLa's cell positions by 3.
        inclusive: Whether a probability of exactly 0.5 is foreground. The original says no, except
            where it makes pseudo-labels for HeLa.
    """

    def __init__(
        self,
        outputs: int,
        loss: str = "mse",
        target_scale: Sequence[float] | None = None,
        inclusive: bool = False,
    ) -> None:
        super().__init__(outputs)
        if loss not in ("mse", "bce"):
            raise unknown_name(f"loss for {self.kind} labels", loss, ("mse", "bce"))
        if target_scale is not None and len(target_scale) != outputs:
            raise ImBenchError(
                f"target_scale has {len(target_scale)} numbers for {outputs} outputs: "
                "give one number for each output"
            )
        self._loss = loss
        self._target_scale = None if target_scale is None else tuple(map(float, target_scale))
        self._inclusive = inclusive

    @override
    def activate(self, logits: Tensor) -> Tensor:
        return logits.float().sigmoid()

    @override
    def confidence(self, probabilities: Tensor) -> Tensor:
        return torch.maximum(probabilities, 1 - probabilities).prod(dim=1)

    @override
    def entropy(self, probabilities: Tensor) -> Tensor:
        return (_entr(probabilities) + _entr(1 - probabilities)).sum(dim=1)

    @property
    @override
    def groups(self) -> int:
        return self.outputs

    @override
    def categorical(self, logits: Tensor) -> Tensor:
        foreground = logits.float().flatten(0, 1)
        return torch.stack([torch.zeros_like(foreground), foreground], dim=1)

    @override
    def from_categorical(self, probabilities: Tensor) -> Tensor:
        return probabilities[:, 1].reshape(-1, self.outputs, *probabilities.shape[2:])

    def _foreground(self, probabilities: Tensor) -> Tensor:
        return probabilities >= 0.5 if self._inclusive else probabilities > 0.5

    @override
    def _loss_per_pixel(self, logits: Tensor, labels: Tensor) -> Tensor:
        target = self.one_hot(labels)
        if self._target_scale is not None:
            target = target * _per_channel(self._target_scale, target.device)
        if self._loss == "mse":
            return (logits.sigmoid() - target).square().mean(dim=1)
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=1)


class BinarySpace(_SigmoidSpace):
    """One sigmoid; bytes 0 (background), 1 (foreground), 255 (ignored)."""

    kind = "binary"

    def __init__(self, **options: Any) -> None:
        super().__init__(1, **options)

    @override
    def discretise(self, probabilities: Tensor) -> Tensor:
        return self._foreground(probabilities).squeeze(1).to(torch.uint8)

    @override
    def one_hot(self, labels: Tensor) -> Tensor:
        return (labels == 1).unsqueeze(1).float()

    @override
    def categories(self, labels: Tensor) -> Tensor:
        return labels.long()


class MulticlassSpace(LabelSpace):
    """A softmax over C classes; bytes 0..C-1, 255 (ignored).

    The loss is the cross-entropy (SUIM and Cityscapes in the original).
    """

    kind = "multiclass"

    def __init__(self, classes: int, loss: str = "ce") -> None:
        super().__init__(classes)
        if not 2 <= classes <= IGNORED:
            raise ImBenchError(f"a multi-class task has 2 to {IGNORED} classes, not {classes}")
        if loss != "ce":
            raise unknown_name("loss for multiclass labels", loss, ("ce",))

    @property
    @override
    def label_count(self) -> int:
        return self.outputs

    @override
    def activate(self, logits: Tensor) -> Tensor:
        return logits.float().softmax(dim=1)

    @override
    def discretise(self, probabilities: Tensor) -> Tensor:
        return probabilities.argmax(dim=1).to(torch.uint8)

    @override
    def confidence(self, probabilities: Tensor) -> Tensor:
        return probabilities.amax(dim=1)

    @override
    def entropy(self, probabilities: Tensor) -> Tensor:
        return _entr(probabilities).sum(dim=1)

    @override
    def one_hot(self, labels: Tensor) -> Tensor:
        classes = torch.arange(self.outputs, dtype=labels.dtype, device=labels.device)
        return (labels.unsqueeze(1) == classes.view(-1, 1, 1)).float()

    @override
    def categorical(self, logits: Tensor) -> Tensor:
        return logits.float()

    @override
    def from_categorical(self, probabilities: Tensor) -> Tensor:
        return probabilities

    @override
    def categories(self, labels: Tensor) -> Tensor:
        return labels.long()

    @override
    def _loss_per_pixel(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels.long(), ignore_index=IGNORED, reduction="none")


class MultilabelSpace(_SigmoidSpace):
    """C sigmoids; bit c of the byte says whether class c is there. No pixel is ignored."""

    kind = "multilabel"

    def __init__(self, channels: int, **options: Any) -> None:
        if not 1 <= channels <= 8:
            raise ImBenchError(f"a label byte holds 1 to 8 multi-label classes, not {channels}")
        super().__init__(channels, **options)

    @override
    def discretise(self, probabilities: Tensor) -> Tensor:
        bits = self._foreground(probabilities).to(torch.uint8)
        return (bits << self._shifts(bits)).sum(dim=1, dtype=torch.uint8)

    @override
    def one_hot(self, labels: Tensor) -> Tensor:
        return ((labels.unsqueeze(1) >> self._shifts(labels)) & 1).float()

    @override
    def categories(self, labels: Tensor) -> Tensor:
        return self.one_hot(labels).long().flatten(0, 1)

    @override
    def valid(self, labels: Tensor) -> Tensor:
        return torch.ones_like(labels, dtype=torch.bool)

    def _shifts(self, like: Tensor) -> Tensor:
        return torch.arange(self.outputs, dtype=torch.uint8, device=like.device).view(-1, 1, 1)


def label_space(kind: str, outputs: int, **options: Any) -> LabelSpace:
    """Return the label space of a kind.

    Args:
        kind: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        outputs: Number of channels of the network's output; 1 for binary.
        options: ``loss``, ``target_scale`` and ``inclusive``, as far as the kind has them. An
            option that is None counts as not given.

    Raises:
        ImBenchError: The kind is unknown, or an option or the number of outputs does not fit it.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        if kind == "binary":
            if outputs != 1:
                raise ImBenchError(f"a binary network has 1 output, not {outputs}")
            return BinarySpace(**given)
        if kind == "multiclass":
            return MulticlassSpace(outputs, **given)
        if kind == "multilabel":
            return MultilabelSpace(outputs, **given)
    except TypeError as error:
        raise ImBenchError(f"{kind} labels do not take these options: {error}") from None
    raise unknown_name("label space", kind, ("binary", "multiclass", "multilabel"))


def _entr(p: Tensor) -> Tensor:
    """Return -p log p, which is 0 at p = 0."""
    result: Tensor = torch.special.entr(p)
    return result


@cache
def _per_channel(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """Return numbers as (C, 1, 1); copied to the device once, since copying waits for it."""
    return torch.tensor(numbers, device=device).view(-1, 1, 1)
