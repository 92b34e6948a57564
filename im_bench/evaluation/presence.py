"""Which classes an image shows, and how well: the targets by which the originals judge labels."""

from __future__ import annotations

import torch
from torch import Tensor

from im_bench.evaluation.overlap import Counts


def class_shares(counts: Counts) -> Tensor:
    """Return the share of the true pixels that each class has, float64 ``(B, C)``.

    Source: original implementation, ``compute_classwise_confluence``.
    """
    return counts.truth / counts.truth.sum(1, keepdim=True).clamp(min=1)


def shown_classes(counts: Counts, share: float = 0.01) -> Tensor:
    """Return which classes cover more than ``share`` of an image's truth, bool ``(B, C)``.

    Source: original implementation, ``compute_classwise_detection``.
    """
    return class_shares(counts) > share


def surviving_classes(counts: Counts, threshold: float, share: float = 0.1) -> Tensor:
    """Return which classes still show after inconsistent pixels were taken away.

    Args:
        counts: Of the masked pseudo-label (as the prediction) and the whole label (as the truth).
        threshold: Least ratio of predicted to true pixels.
        share: Share of the image that suffices whatever the ratio.

    Returns:
        bool ``(B, C)``. Class 0 shows if any pixel has it.

    Source: original implementation, ``compute_classwise_detection_im``.
    """
    predicted, truth = counts.predicted, counts.truth
    ratio = torch.where(truth > 0, predicted / truth.clamp(min=1), 0)
    shown = predicted / predicted.sum(1, keepdim=True).clamp(min=1)
    shows = (ratio >= threshold) | (shown >= share)
    return torch.cat([predicted[:, :1] > 0, shows[:, 1:]], 1)


def class_ious(counts: Counts) -> Tensor:
    """Return the IoU of each class that the truth has, float64 ``(B, C)``, else 0.

    Class 0 is the exception: where it is predicted although the truth, which knows no inconsistent
    pixels, lacks it, it scores 1.

    Source: original implementation, ``compute_classwise_IoU``. It rounds to 4 decimals, halves to
    even, what it divides without the 1e-7 of the other metrics, which would move halves down.
    """
    values = (counts.intersection / counts.union).where(counts.truth > 0, 0.0)
    only_predicted = (counts.truth[:, :1] == 0) & (counts.predicted[:, :1] > 0)
    return torch.cat([values[:, :1] + only_predicted, values[:, 1:]], 1)
