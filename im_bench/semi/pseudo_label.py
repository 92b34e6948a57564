"""Pseudo-labels: what a network is taught on pixels that nobody has labelled."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def paste(own: Tensor, other: Tensor, box: Tensor) -> Tensor:
    """Return ``own`` with ``other`` pasted inside boxes, as CutMix does.

    Args:
        own: (B, H, W) or (B, C, H, W).
        other: Of the same shape and type.
        box: bool (B, H, W), True where ``other`` is taken.
    """
    return torch.where(box.unsqueeze(1) if own.ndim == 4 else box, other, own)


class PseudoLabel(NamedTuple):
    """Labels of a batch of B images, and how far each pixel can be trusted.

    Attributes:
        label: Label bytes, uint8 (B, H, W).
        confidence: Probability of the label, float32 (B, H, W), in 0..1.
        valid: Which pixels belong to the image and not to its padding, bool (B, H, W).
        kept: Which pixels may teach, bool (B, H, W): False where Inconsistency Masks filter.
    """

    label: Tensor
    confidence: Tensor
    valid: Tensor
    kept: Tensor

    def pasted(self, other: PseudoLabel, box: Tensor) -> PseudoLabel:
        """Return these labels with others pasted inside boxes, bool (B, H, W)."""
        return PseudoLabel(*(paste(a, b, box) for a, b in zip(self, other, strict=True)))

    def take(self, index: Tensor) -> PseudoLabel:
        """Return the labels of other images of the batch: ``index`` is int64 (B,)."""
        return PseudoLabel(*(each.index_select(0, index) for each in self))
