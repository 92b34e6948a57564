"""Losses that semi-supervised methods share. None waits for the device."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from im_bench.data.label_spaces import IGNORED, LabelSpace
from im_bench.semi.pseudo_label import PseudoLabel


def confident(label: PseudoLabel, threshold: float | Tensor) -> Tensor:
    """Return which pixels teach, bool (B, H, W).

    Args:
        label: Pseudo-labels; pixels that it does not keep do not teach.
        threshold: Confidence from which a pixel teaches, in 0..1.
    """
    return (label.confidence >= threshold) & label.kept


def masked_mean(pixel_loss: Tensor, teaching: Tensor, valid: Tensor) -> Tensor:
    """Return the mean over the valid pixels, to which only those that teach add; 0 without any.

    Args:
        pixel_loss: float32 (B, H, W).
        teaching: bool (B, H, W).
        valid: What the denominator counts, bool (B, H, W).
    """
    return pixel_loss.where(teaching & valid, 0.0).sum() / valid.sum().clamp(min=1)


def share(mask: Tensor, valid: Tensor) -> Tensor:
    """Return the share of valid pixels that a mask covers, a scalar in 0..1; 0 without any.

    Args:
        mask: bool (B, H, W).
        valid: bool (B, H, W).
    """
    return (mask & valid).sum() / valid.sum().clamp(min=1)


def ohem(
    logits: Tensor,
    labels: Tensor,
    threshold: float = 0.7,
    min_kept: int = 200_000,
    class_weight: Tensor | None = None,
    empty: float = 0.0,
) -> Tensor:
    """Return the cross-entropy of the hard pixels of a batch (online hard example mining).

    Args:
        logits: (B, K, H, W).
        labels: Class indices (B, H, W), 255 where ignored.
        threshold: As in :func:`hard_pixels`.
        min_kept: As in :func:`hard_pixels`.
        class_weight: Weight of each class (K,), or None for 1; the mean is weighted by it.
        empty: The result where every pixel is ignored; that of the original is NaN.

    Source: LiheYoung/UniMatch, ``ProbOhemCrossEntropy2d``; the same in U2PL, iMAS and DAW.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits, target = logits.float(), labels.long()
        kept = hard_pixels(logits, labels, threshold, min_kept)
        pixel_loss = F.cross_entropy(logits, target, ignore_index=IGNORED, reduction="none")
        weight = kept.float()
        if class_weight is not None:
            weight = weight * class_weight[target.where(kept, 0)]
        total = weight.sum()
        mean = (pixel_loss * weight).sum() / total.where(total > 0, 1.0)
        return mean.where(total > 0, empty)


@torch.no_grad()
def hard_pixels(
    logits: Tensor, labels: Tensor, threshold: float = 0.7, min_kept: int = 200_000
) -> Tensor:
    """Return the pixels whose true class is improbable, bool (B, H, W).

    Args:
        logits: (B, K, H, W).
        labels: Class indices (B, H, W), 255 where ignored; these are never hard.
        threshold: Probability of the true class up to which a pixel is hard.
        min_kept: At least so many pixels of the batch are hard: the threshold rises accordingly.
            All pixels count as hard where the batch has fewer valid ones, and if it is 0.
    """
    target = labels.long()
    valid = target != IGNORED
    if min_kept <= 0:
        return valid
    true_class = target.where(valid, 0).unsqueeze(1)
    probability = logits.float().softmax(dim=1).gather(1, true_class).squeeze(1)
    # With too few valid pixels the rank falls on an ignored one, and so no limit is left.
    probability = probability.where(valid, 1.0)
    rank = min(min_kept, probability.numel())
    # Much faster than kthvalue on a GPU, which selects with a single block.
    smallest = probability.flatten().topk(rank, largest=False, sorted=False).values
    limit = smallest.amax().clamp(min=threshold)
    return valid & (probability <= limit)


def reverse_cross_entropy(logits: Tensor, labels: Tensor, floor: float = 1e-4) -> Tensor:
    """Return the cross-entropy of the one-hot label under the prediction's distribution.

    Args:
        logits: (B, K, H, W).
        labels: Class indices (B, H, W), 255 where ignored.
        floor: What stands for the zeros of the one-hot label, whose logarithm is taken.

    Returns:
        The mean over the valid pixels, float32; 0 without any.

    Source: Wang et al., Symmetric Cross Entropy, ICCV 2019; U2PL, ``compute_rce_loss``.
    """
    target = labels.long()
    valid = target != IGNORED
    true_class = target.where(valid, 0).unsqueeze(1)
    probability = logits.float().softmax(dim=1).gather(1, true_class).squeeze(1)
    return masked_mean(-math.log(floor) * (1 - probability), valid, valid)


def dice(
    probabilities: Tensor, target: Tensor, ignore: Tensor | None = None, smooth: float = 1e-4
) -> Tensor:
    """Return the Dice loss, a float32 scalar in 0..1: the mean over the channels.

    Each channel's overlap is that of the whole batch, with squares in the denominator.

    Args:
        probabilities: (B, K, ...), with any number of spatial axes.
        target: 0 or 1, of the same shape.
        ignore: Which pixels do not count, bool (B, ...); if none does, the loss is 0.
        smooth: Added to numerator and denominator.

    Source: AiEson/CrossMatch, ``DiceLoss``.
    """
    probabilities, target = probabilities.float(), target.float()
    if ignore is not None:
        left_out = ignore.unsqueeze(1)
        probabilities = probabilities.masked_fill(left_out, 0.0)
        target = target.masked_fill(left_out, 0.0)
    axes = [axis for axis in range(probabilities.ndim) if axis != 1]
    overlap = (probabilities * target).sum(axes)
    size = probabilities.square().sum(axes) + target.square().sum(axes)
    return (1 - (2 * overlap + smooth) / (size + smooth)).mean()


def label_dice(
    space: LabelSpace,
    logits: Tensor,
    labels: Tensor,
    ignore: Tensor | None = None,
    smooth: float = 1e-4,
    background: bool = True,
) -> Tensor:
    """Return the Dice loss in a label space, over every class of each of its softmaxes.

    Args:
        space: What labels mean.
        logits: (B, C, H, W).
        labels: Label bytes (B, H, W).
        ignore: As in :func:`dice`.
        smooth: As in :func:`dice`.
        background: Whether the first class of each softmax counts. In binary and multi-label
            spaces that is the absence of a class.
    """
    probabilities = space.categorical(logits).softmax(dim=1)
    classes = torch.arange(probabilities.shape[1], device=logits.device)
    target = (space.categories(labels).unsqueeze(-1) == classes).movedim(-1, 1)
    first = 0 if background else 1
    # The softmaxes of an image side by side, so that a rare class of a multi-label task has an
    # overlap of its own.
    shape = (len(logits), -1, *labels.shape[1:])
    return dice(
        probabilities[:, first:].reshape(shape), target[:, first:].reshape(shape), ignore, smooth
    )
