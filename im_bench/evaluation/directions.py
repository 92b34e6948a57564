"""Which metrics should rise and which should fall. Imports nothing heavy."""

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


def higher_is_better(metric: str) -> bool:
    """Return whether a greater value of a metric is a better one.

    Args:
        metric: A name, with or without a prefix and a class: ``"miou"``, ``"val/iou_fish"``.

    Raises:
        ImBenchError: If the metric is unknown.
    """
    name = metric.rpartition("/")[2]
    if name.startswith("iou_"):
        name = "iou"
    if name not in HIGHER_IS_BETTER:
        raise unknown_name("metric", name, HIGHER_IS_BETTER)
    return HIGHER_IS_BETTER[name]
