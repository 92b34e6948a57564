"""Finds metrics by name: the built-in ones, and those that other packages bring.

A package brings a metric by an entry point: ``[project.entry-points."im_bench.metrics"]`` with
``my_metric = "my_package.my_metric:MyMetric"``. Imports nothing heavy.

The IoU of one class is called ``iou/CLASS``. No other name has a slash, so that a class may be
called whatever it likes.
"""

from __future__ import annotations

from im_bench.errors import ImBenchError, unknown_name
from im_bench.evaluation.metric import Metric, Space
from im_bench.registry import Registry

BUILT_IN = {
    "iou": "im_bench.evaluation.scores:IoU",
    "dice": "im_bench.evaluation.scores:Dice",
    "iou_dataset": "im_bench.evaluation.scores:DatasetIoU",
    "dice_dataset": "im_bench.evaluation.scores:DatasetDice",
    "miou": "im_bench.evaluation.scores:MeanIoU",
    "pixel_accuracy": "im_bench.evaluation.scores:PixelAccuracy",
    "miou_dataset": "im_bench.evaluation.scores:DatasetMeanIoU",
    "miou_dataset_mmseg": "im_bench.evaluation.scores:DatasetMeanIoUOfMMSegmentation",
    "miou_dataset_unimatch": "im_bench.evaluation.scores:DatasetMeanIoUOfUniMatch",
    "miou_ad": "im_bench.evaluation.scores:MeanIoUOfCells",
    "soft_miou": "im_bench.evaluation.scores:SoftMeanIoU",
    "mcce": "im_bench.evaluation.scores:CellCountError",
    "loss": "im_bench.evaluation.scores:Loss",
}
METRICS = Registry("metric", "im_bench.metrics", BUILT_IN, base=Metric)
"""Subclasses of :class:`~im_bench.evaluation.metric.Metric`."""

#: What the name of a class follows in the name of its IoU.
CLASS_IOU = "iou/"


def metric_class(name: str) -> type[Metric]:
    """Return the facts about a metric.

    Args:
        name: With or without a prefix: ``"miou"``, ``"val/miou"``.

    Raises:
        ImBenchError: There is no such metric, or it cannot be imported.
    """
    word = name.rpartition("/")[2]
    if word not in METRICS:
        raise ImBenchError(
            f"{unknown_name('metric', word, METRICS)}; if another package brings it, install that"
        )
    found: type[Metric] = METRICS[word]
    return found


def check_headline(name: str, space: Space) -> None:
    """Raise where a data set cannot have this headline metric.

    Args:
        name: Of the metric.
        space: The data set's label space.

    Raises:
        ImBenchError: There is no such metric, it cannot be imported or does not fit.
    """
    if name in METRICS:
        kind: type[Metric] = METRICS[name]
        if kind.headline and space in kind.spaces:
            return
    fitting = " or ".join(headline_metrics(space))
    wrong = f"{name} does not fit {space}" if name in METRICS else f"there is no metric {name}"
    also = "" if name in METRICS else ", or install the package that brings it"
    raise ImBenchError(f"{wrong}: use {fitting}{also}")


def headline_metrics(space: Space) -> list[str]:
    """Return the names of the metrics that may be the headline of a label space."""
    return [name for name, kind in METRICS.items() if kind.headline and space in kind.spaces]


def class_iou(name: str) -> str:
    """Return the name of the metric of one class."""
    return CLASS_IOU + name


def class_of(metric: str) -> str | None:
    """Return the class whose IoU a metric is, or None if it is one of the data set."""
    return metric.removeprefix(CLASS_IOU) if metric.startswith(CLASS_IOU) else None


def higher_is_better(metric: str) -> bool:
    """Return whether a greater value of a metric is a better one.

    Args:
        metric: A name, with or without a prefix and a class: ``"miou"``, ``"val/iou/fish"``.

    Raises:
        ImBenchError: If the metric is unknown.
    """
    return f"/{CLASS_IOU}" in f"/{metric}" or metric_class(metric).higher_is_better


def title_of(metric: str) -> str:
    """Return the name of a metric in tables: its title, or the name itself if it is unknown."""
    return metric_class(metric).title if metric in METRICS else metric
