"""Overlap of predicted and true label maps: counted once per batch, read in many ways.

Every task comes down to three counts per image and class (:class:`Counts`): how many pixels are
predicted, how many are true, how many are both. IoU, Dice and accuracy are arithmetic on these, per
image or, after adding up, per data set.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from im_bench.errors import ImBenchError

IGNORED = 255
Absent = Literal["skip", "skip-unseen", "zero"]
EPSILON = 1e-7  # of the original's union: an image without prediction and truth scores 0


class Counts(NamedTuple):
    """Pixels per image and class; every tensor is float64 ``(B, C)``.

    Attributes:
        intersection: Pixels of the class in prediction and truth.
        predicted: Pixels of the class in the prediction.
        truth: Pixels of the class in the truth.
    """

    intersection: Tensor
    predicted: Tensor
    truth: Tensor

    @property
    def union(self) -> Tensor:
        """Pixels of the class in prediction or truth."""
        return self.predicted + self.truth - self.intersection

    def total(self) -> Counts:
        """Return the counts of all images together, ``(1, C)``."""
        return Counts(*(counts.sum(0, keepdim=True) for counts in self))


def binary_counts(predicted: Tensor, truth: Tensor) -> Counts:
    """Count the foreground of binary label bytes.

    Args:
        predicted: uint8 or bool ``(B, H, W)``; foreground is what is not 0.
        truth: Likewise; pixels of 255 are ignored.

    Returns:
        Counts of shape ``(B, 1)``.
    """
    valid = truth != IGNORED
    return _counts_of_maps(((predicted != 0) & valid)[:, None], ((truth != 0) & valid)[:, None])


def multilabel_counts(predicted: Tensor, truth: Tensor, classes: int) -> Counts:
    """Count each class of bit masks, uint8 ``(B, H, W)``; no pixel is ignored.

    Returns:
        Counts of shape ``(B, classes)``.
    """
    bits = 1 << torch.arange(classes, dtype=torch.uint8, device=truth.device)[:, None, None]
    return _counts_of_maps((predicted[:, None] & bits) != 0, (truth[:, None] & bits) != 0)


def multiclass_counts(predicted: Tensor, truth: Tensor, classes: int) -> Counts:
    """Count each class of class maps.

    Args:
        predicted: Integer ``(B, H, W)`` with values below ``classes``.
        truth: Likewise, or 255: these pixels are ignored.
        classes: Number of classes.

    Returns:
        Counts of shape ``(B, classes)``.

    Raises:
        ImBenchError: If a label is out of range.
    """
    confusion = confusion_matrices(predicted, truth, classes).double()
    return Counts(confusion.diagonal(dim1=1, dim2=2), confusion.sum(1), confusion.sum(2))


def confusion_matrices(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Return the confusion matrix of each image, int64 ``(B, true class, predicted class)``.

    Args:
        predicted: Integer ``(B, H, W)`` with values below ``classes``.
        truth: Likewise, or 255: these pixels are ignored.
        classes: Number of classes.

    Raises:
        ImBenchError: If a label is out of range.
    """
    predicted, truth = predicted.flatten(1).long(), truth.flatten(1).long()
    ignored = truth == IGNORED
    truth = truth.masked_fill(ignored, classes)  # a row of its own, cut off below
    for what, labels in (("predicted", predicted), ("true", truth.masked_fill(ignored, 0))):
        if labels.numel() and int(labels.max()) >= classes:
            raise ImBenchError(
                f"a {what} label is {int(labels.max())} but there are {classes} classes: "
                "check the data set's list of classes"
            )
    images = torch.arange(len(truth), device=truth.device)[:, None]
    cells = (images * (classes + 1) + truth) * classes + predicted
    shape = (len(truth), classes + 1, classes)
    return torch.bincount(cells.flatten(), minlength=shape[0] * shape[1] * shape[2]).view(shape)[
        :, :-1
    ]


def soft_counts(probabilities: Tensor, truth: Tensor) -> Counts:
    """Count with probabilities in place of predicted pixels.

    Args:
        probabilities: float ``(B, C, H, W)`` in 0..1.
        truth: Integer ``(B, H, W)`` class map; pixels of 255 are ignored.

    Returns:
        Counts of shape ``(B, C)``.
    """
    valid = truth != IGNORED
    index = truth.masked_fill(~valid, 0).long()[:, None]
    weights = valid[:, None].double()
    values = probabilities.double() * weights
    zeros = torch.zeros(probabilities.shape[:2], dtype=torch.float64, device=truth.device)
    return Counts(
        zeros.scatter_add(1, index.flatten(1), values.gather(1, index).flatten(1)),
        values.sum((2, 3)),
        zeros.scatter_add(1, index.flatten(1), weights.flatten(1)),
    )


def iou(counts: Counts) -> Tensor:
    """Return intersection over union + 1e-7, float64 ``(B, C)`` in 0..1; absent classes score 0.

    Source: original implementation, ``get_IoU_binary``.
    """
    return counts.intersection / (counts.union + EPSILON)


def dice(counts: Counts, smooth: float = 1.0) -> Tensor:
    """Return the Dice coefficient, float64 ``(B, C)`` in 0..1; absent classes score 1.

    Of soft counts it is the complement of the original's Dice loss.

    Source: original implementation, ``dice_score_numpy_binary`` and ``dice_loss``.
    """
    return (2 * counts.intersection + smooth) / (counts.predicted + counts.truth + smooth)


def image_miou(counts: Counts) -> Tensor:
    """Return each image's mean IoU over the classes of its ground truth, float64 ``(B,)``.

    Classes that are only predicted are not averaged (but cost the others). An image whose ground
    truth is ignored entirely scores 0.

    Source: original implementation, ``get_IoU_multi_unique``.
    """
    present = counts.truth > 0
    return (iou(counts) * present).sum(1) / present.sum(1).clamp(min=1)


def pixel_accuracy(counts: Counts) -> Tensor:
    """Return the share of right pixels in each image, float64 ``(B,)``, of multi-class counts."""
    return counts.intersection.sum(1) / counts.truth.sum(1).clamp(min=1)


def dataset_iou(counts: Counts) -> Tensor:
    """Return each class's IoU over all images together (of the summed confusion matrix).

    Returns:
        float64 ``(C,)``; not-a-number where no ground truth has the class.
    """
    total = counts.total()
    values = total.intersection / total.union
    return values.masked_fill(total.truth == 0, torch.nan)[0]


def dataset_miou(counts: Counts, absent: Absent = "skip") -> Tensor:
    """Return the mean over classes of the IoU over all images together, a float64 scalar in 0..1.

    Definitions differ in the classes that no ground truth has, for which any predicted pixel is
    wrong.

    Args:
        counts: Of all images.
        absent: What becomes of these classes. ``skip``: they are left out. ``skip-unseen``: those
            that are predicted count as 0, the others are left out, as MMSegmentation's
            ``IoUMetric`` does. ``zero``: all count as 0, as in the evaluations of UniMatch, U2PL
            and CorrMatch.
    """
    ious = dataset_iou(counts)
    if absent == "zero":
        ious = ious.nan_to_num(0.0)
    elif absent == "skip-unseen":
        ious = ious.masked_fill(ious.isnan() & (counts.total().predicted[0] > 0), 0.0)
    return ious.nanmean().nan_to_num(0.0)  # without any ground truth


def soft_miou(counts: Counts) -> Tensor:
    """Return the mean over classes of the soft IoU of a whole batch, a float64 scalar.

    Source: original implementation, the Keras metric ``MeanIoU``, of one batch.
    """
    total = counts.total()
    return (total.intersection / total.union).nan_to_num(0.0).mean()


def rounded(values: Tensor, official: bool) -> Tensor:
    """Return values of images, to 4 decimals if the original's rounding is asked for."""
    return values.round(decimals=4) if official else values


def image_mean(values: Tensor, official: bool = False) -> float:
    """Return the mean over images of values that are rounded before, as :func:`rounded` does."""
    return mean(rounded(values, official), official)


def mean(values: Tensor, official: bool = False) -> float:
    """Return the mean over images.

    Args:
        values: One per image.
        official: Round to 3 decimals as the original benchmarks do, with numpy's arithmetic; half
            of the last digit goes to the even one.
    """
    if official:
        # The mean of a few such values often is half of the last digit: any other order of adding,
        # or Python's rounding, would give another digit.
        return float(np.round(np.mean(values.numpy()), 3))
    return float(values.mean())


def _counts_of_maps(predicted: Tensor, truth: Tensor) -> Counts:
    """Count boolean maps, ``(B, C, H, W)``."""
    maps = (predicted & truth, predicted, truth)
    # 32 bits are enough for an image's pixels, and add up several times faster than the default 64.
    return Counts(*(each.sum((2, 3), dtype=torch.int32).double() for each in maps))
