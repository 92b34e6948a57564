"""Telling reliable pseudo-labels from unreliable ones by percentiles of a teacher's entropy.

All works on the softmax form of a label space: B counts label maps, K classes. 255 is "ignored".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from im_bench.data.label_spaces import IGNORED

_EPSILON = 1e-10


class Masks(NamedTuple):
    """Which pixels of labelled, then unlabelled label maps are reliable, and which are not.

    Attributes:
        low: Of low entropy, bool (B, h, w).
        high: Of high entropy, bool (B, h, w). Labelled pixels are both.
    """

    low: Tensor
    high: Tensor


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy of softmaxes in nats, float32 (B, H, W), from logits (B, K, H, W)."""
    probabilities = logits.float().softmax(dim=1)
    return -(probabilities * (probabilities + _EPSILON).log()).sum(dim=1)


def masked_percentiles(values: Tensor, mask: Tensor, percents: Sequence[float]) -> Tensor:
    """Return percentiles of the values that a mask covers, interpolated linearly.

    As ``numpy.percentile`` gives them, but without waiting for the device, and for any number of
    values: ``torch.quantile`` takes at most 16 million.

    Args:
        values: Of any shape.
        mask: bool, of the same shape. Where it covers nothing the percentiles are NaN.
        percents: P numbers in 0..100.

    Returns:
        (P,), of the values' type.
    """
    ordered = values.masked_fill(~mask, torch.inf).flatten().sort().values
    last = mask.sum() - 1
    position = torch.stack([last.double() * (percent / 100) for percent in percents]).clamp(min=0)
    below = position.floor().long()
    above = torch.minimum(below + 1, last.clamp(min=0))
    weight = (position - below).to(values.dtype)
    return torch.lerp(ordered.take(below), ordered.take(above), weight)


def without_unreliable(target: Tensor, entropy: Tensor, threshold: Tensor) -> Tensor:
    """Ignore pixels whose entropy reaches a threshold.

    Args:
        target: Class indices (B, H, W).
        entropy: float32 (B, H, W), in nats.
        threshold: A scalar.
    """
    return target.masked_fill(entropy >= threshold, IGNORED)


def unlabelled_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return U2PL's loss on pseudo-labels: a mean over the kept pixels, raised by what is ignored.

    The mean cross-entropy of the pixels that are not ignored is multiplied by the number of all
    pixels over the number of those.

    Args:
        logits: The student's, (B, K, H, W).
        target: Class indices (B, H, W), 255 where ignored.

    Returns:
        A float32 scalar; 0 where all is ignored.

    Source: original implementation, ``compute_unsupervised_loss``.
    """
    with torch.autocast(logits.device.type, enabled=False):
        total = F.cross_entropy(logits.float(), target, ignore_index=IGNORED, reduction="sum")
    kept = (target != IGNORED).sum().clamp(min=1)
    return total / kept * (target.numel() / kept)


def reliability_masks(
    truth: Tensor,
    label: Tensor,
    entropy: Tensor,
    low: Tensor,
    high: Tensor,
    negative_high_entropy: bool = True,
) -> Masks:
    """Return where labelled and unlabelled images are reliable, and where not.

    Args:
        truth: Class indices of the labelled images, (B, h, w).
        label: Pseudo-labels of the unlabelled ones, (B', h, w).
        entropy: Of the teacher on the unlabelled ones, float32 (B', h, w).
        low: Up to which entropy a pixel is reliable, a scalar.
        high: From which one it is unreliable, a scalar.
        negative_high_entropy: False: all unlabelled pixels count as unreliable.

    Source: original implementation, the training loop.
    """
    known, valid = truth != IGNORED, label != IGNORED
    unreliable = valid & (entropy >= high) if negative_high_entropy else torch.ones_like(valid)
    return Masks(
        low=torch.cat([known, valid & (entropy <= low)]), high=torch.cat([known, unreliable])
    )


def nearest(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize maps (B, H, W), float32 or of class indices up to 255, by taking nearest pixels."""
    values = maps if maps.is_floating_point() else maps.to(torch.uint8)
    return F.interpolate(values.unsqueeze(1), tuple(size), mode="nearest").squeeze(1)
