"""Data sets of MMSegmentation: built and loaded with errors that name the file and the remedy."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import mmcv.transforms
from mmengine.logging import print_log
from mmseg.registry import DATASETS
from numpy.typing import NDArray

from im_bench.data.description import IGNORED
from im_bench.data.image_files import inspect
from im_bench.data.image_headers import UnreadableImageError
from im_bench.data.transforms import transforms_of
from im_bench.errors import ImBenchError

_DAMAGED = (
    AssertionError,
    AttributeError,  # of None, which OpenCV gives for what it cannot decode
    EOFError,
    OSError,
    SyntaxError,
    ValueError,
    cv2.error,
)
"""What loaders and their libraries raise for missing and damaged files."""


def build_dataset(name: str, dataset: Mapping[str, Any] | Any) -> Any:
    """Return a data set that holds images.

    Where its files have more than 8 bits per channel and its loader keeps 8, the log says so.

    Args:
        name: What errors call it, such as ``"labelled"``.
        dataset: The data set, or its config.

    Raises:
        ImBenchError: It holds no image.
    """
    if isinstance(dataset, Mapping):
        try:
            dataset = DATASETS.build(dict(dataset))
        except ValueError as error:
            if "need at least one array" not in str(error):  # what MMEngine says of an empty list
                raise
            dataset = ()
    if not len(dataset):
        raise ImBenchError(f"the {name} data set holds no image: check its list and folders")
    _warn_of_lost_bits(name, dataset)
    return dataset


@contextmanager
def loading(info: Mapping[str, Any]) -> Iterator[None]:
    """Name the files of an image whose loading fails.

    Args:
        info: What the data set knows of the image.

    Raises:
        ImBenchError: In place of what loaders and their libraries raise.
    """
    try:
        yield
    except KeyError as error:
        if error.args[:1] != ("seg_map_path",):
            raise
        raise ImBenchError(
            f"image {files_of(info)} cannot be loaded, since the data set does not say where its "
            "labels are: set data_prefix.seg_map_path"
        ) from error
    except _DAMAGED as error:
        reason = str(error).partition("\n")[0]
        raise ImBenchError(
            f"image {files_of(info)} cannot be loaded ({reason}): restore the files, or correct "
            "the list that names them"
        ) from error


def files_of(info: Mapping[str, Any]) -> str:
    """Return the files of an image, as errors name them."""
    return " with ".join(str(info[key]) for key in ("img_path", "seg_map_path") if info.get(key))


def check_labels(labels: NDArray[Any], count: int | None, info: Mapping[str, Any]) -> None:
    """Raise an ImBenchError for labels that no network has an output for.

    Args:
        labels: Of any shape.
        count: How many classes labels may name, from 0; None: any.
        info: What the data set knows of the image.
    """
    if count is None:
        return
    wrong = (labels >= count) & (labels != IGNORED)
    if wrong.any():
        raise ImBenchError(
            f"{info.get('seg_map_path') or info['img_path']} has the label {labels[wrong][0]}, but "
            f"the model knows 0 to {count - 1}, and {IGNORED} for ignored pixels: convert the "
            "labels (Cityscapes: to labelTrainIds), or correct the number of classes"
        )


def _warn_of_lost_bits(name: str, dataset: Any) -> None:
    """Say so once where images of 16 bits would become dark unnoticed."""
    loads = [
        step
        for step in transforms_of(dataset)
        if type(step) is mmcv.transforms.LoadImageFromFile and step.color_type == "color"
    ]
    path = Path(str(dataset.get_data_info(0)["img_path"])) if loads else None
    if path is not None and _is_deep(path):
        print_log(
            f"{path} of the {name} data set has 16 bits per channel, of which LoadImageFromFile "
            "keeps the upper 8: use LoadImage with its `scale` where these are too dark",
            logger="current",
            level=logging.WARNING,
        )


def _is_deep(path: Path) -> bool:
    try:
        return inspect(path).bits > 8
    except UnreadableImageError:
        return False
