"""The built-in metrics, with all that suites and tables must know of them.

Source of the means over images: the original implementation (``benchmark_ISIC2018``,
``benchmark_multiclass``, ``benchmark_hela``), which has official roundings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from im_bench.evaluation.metric import CountedMetric, Metric
from im_bench.lazy import lazy_module

if TYPE_CHECKING:
    from im_bench.evaluation import overlap
    from im_bench.evaluation.overlap import Counts
else:
    overlap = lazy_module("im_bench.evaluation.overlap")

_POOLED = "over the pixels of all images together"


class IoU(CountedMetric):
    """Mean over images of the foreground's IoU."""

    title = "IoU"
    definition = "mean over images, where nothing predicted of nothing counts 0"
    spaces = ("binary",)

    @classmethod
    def value(cls, counts: Counts, official_rounding: bool = False) -> float:
        """Return the mean over images."""
        return overlap.image_mean(overlap.iou(counts), official_rounding)


class Dice(CountedMetric):
    """Mean over images of the foreground's Dice coefficient, in which absent classes score 1."""

    title = "Dice"
    spaces = ("binary",)
    headline = False

    @classmethod
    def value(cls, counts: Counts, official_rounding: bool = False) -> float:
        """Return the mean over images."""
        dice = overlap.dice(counts)
        if official_rounding:
            dice = dice.float()  # as the original has it, which decides where halves go
        return overlap.image_mean(dice, official_rounding)


class DatasetIoU(CountedMetric):
    """IoU of the pixels of all images, such as the voxels of a volume whose slices they are.

    Images without foreground do not weigh more than others.
    """

    title = "data-set IoU"
    definition = _POOLED
    spaces = ("binary",)

    @classmethod
    def value(cls, counts: Counts, official_rounding: bool = False) -> float:
        """Return the IoU of the summed counts."""
        return float(overlap.iou(counts.total()))


class DatasetDice(CountedMetric):
    """Dice coefficient of the pixels of all images together."""

    title = "data-set Dice"
    spaces = ("binary",)
    headline = False

    @classmethod
    def value(cls, counts: Counts, official_rounding: bool = False) -> float:
        """Return the coefficient of the summed counts."""
        return float(overlap.dice(counts.total(), overlap.EPSILON))


class MeanIoU(Metric):
    """Mean over images of each image's mean IoU.

    In multi-class data that is over the classes of the image's ground truth (class 0 included). In
    bit masks it is over all classes, and a class that is in neither prediction nor ground truth
    scores 0.
    """

    title = "mIoU"
    definition = "mean over images of each image's mean IoU"
    spaces = ("multiclass", "multilabel")


class PixelAccuracy(CountedMetric):
    """Mean over images of the share of right pixels."""

    title = "pixel accuracy"
    spaces = ("multiclass",)
    headline = False

    @classmethod
    def value(cls, counts: Counts, official_rounding: bool = False) -> float:
        """Return the mean over images."""
        return overlap.image_mean(overlap.pixel_accuracy(counts), official_rounding)


class DatasetMeanIoU(CountedMetric):
    """mIoU of the confusion matrix of all images, as Cityscapes and Pascal are reported."""

    title = "data-set mIoU"
    definition = f"{_POOLED}, mean of the classes in the ground truth"
    spaces = ("multiclass",)

    @classmethod
    def value(cls, counts: Counts, official_rounding: bool = False) -> float:
        """Return the mean over the classes that the ground truth has."""
        return float(overlap.dataset_miou(counts))


class DatasetMeanIoUOfMMSegmentation(CountedMetric):
    """The same, but a class that is only predicted counts as 0, as in ``IoUMetric``."""

    title = "data-set mIoU (MMSegmentation)"
    definition = (
        f"{_POOLED}, mean of the classes in ground truth or prediction, as "
        "MMSegmentation's IoUMetric"
    )
    spaces = ("multiclass",)

    @classmethod
    def value(cls, counts: Counts, official_rounding: bool = False) -> float:
        """Return the mean over the classes that are in ground truth or prediction."""
        return float(overlap.dataset_miou(counts, "skip-unseen"))


class DatasetMeanIoUOfUniMatch(CountedMetric):
    """The same, but a class that no ground truth has counts as 0, as in UniMatch and U2PL."""

    title = "data-set mIoU (UniMatch)"
    definition = (
        f"{_POOLED}, mean of all classes, absent ones counting 0, as UniMatch and U2PL evaluate"
    )
    spaces = ("multiclass",)

    @classmethod
    def value(cls, counts: Counts, official_rounding: bool = False) -> float:
        """Return the mean over all classes."""
        return float(overlap.dataset_miou(counts, "zero"))


class SoftMeanIoU(Metric):
    """IoU of probabilities over all images, by ``MulticlassMetric`` where samples bring them.

    The original averages it over batches of validation, so that it depends on their size.
    """

    title = "soft mIoU"
    spaces = ("multiclass",)
    headline = False


class CellCountError(Metric):
    """Mean cell count error, by ``CellMetric``."""

    title = "MCCE"
    definition = "mean over images of the error in living plus that in dead cells"
    higher_is_better = False
    unit = "cells"
    spaces = ("multilabel",)


class MeanIoUOfCells(Metric):
    """Mean IoU of alive and dead, by ``CellMetric``."""

    title = "mIoU_ad"
    spaces = ("multilabel",)
    headline = False


class Loss(Metric):
    """The training loss on the validation images, by ``LossMetric``."""

    title = "loss"
    higher_is_better = False
    unit = ""
    headline = False
