"""The names of metrics, and which should rise and which should fall. Imports nothing heavy.

A metric of a data set is a word, such as ``iou_dataset``. The IoU of one class is ``iou/CLASS``.
No word has a slash, so that a class may be called whatever it likes.
"""

from __future__ import annotations

from im_bench.errors import unknown_name

HIGHER_IS_BETTER = {
    "iou": True,
    "iou_dataset": True,
    "dice": True,
    "dice_dataset": True,
    "miou": True,
    "miou_dataset": True,
    "miou_dataset_mmseg": True,
    "miou_dataset_unimatch": True,
    "miou_ad": True,
    "pixel_accuracy": True,
    "soft_miou": True,
    "mcce": False,
    "loss": False,
}

#: What the name of a class follows in the name of its IoU.
CLASS_IOU = "iou/"


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
    if f"/{CLASS_IOU}" in f"/{metric}":
        return True
    name = metric.rpartition("/")[2]
    if name not in HIGHER_IS_BETTER:
        raise unknown_name("metric", name, HIGHER_IS_BETTER)
    return HIGHER_IS_BETTER[name]
