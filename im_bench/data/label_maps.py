"""Pseudo-labels of unlabelled images as files: what they are called, and what their values mean.

A label map is a PNG file of one channel and of its image's size: label values, 254 where the
teachers disagree, 255 where nothing counts. Multi-label bytes need all values, so they have none.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from im_bench.data.image_files import read_mask
from im_bench.errors import ImBenchError
from im_bench.files import atomic_path

_CONTENT = "image-sha256"

UNDECIDED = 254
"""The value of a pixel whose common label is not known: teachers disagree, or nobody was asked."""


def label_file(folder: Path, image: str) -> Path:
    """Return where the label map of an image file is; files of one name in two folders differ.

    Args:
        folder: Of the label maps.
        image: The image file, as its data set names it.
    """
    digest = hashlib.sha256(image.encode()).hexdigest()[:12]
    return folder / f"{Path(image).stem}-{digest}.png"


def write_label_map(folder: Path, image: str, labels: NDArray[np.uint8], content: str) -> None:
    """Keep the labels (H, W) of an image file. A kill leaves the whole file or none.

    Args:
        folder: Of the label maps.
        image: The image file, as its data set names it.
        labels: Of the image.
        content: The SHA-256 of the image file, which is kept in the label map.
    """
    notes = PngInfo()
    notes.add_text(_CONTENT, content)
    with atomic_path(label_file(folder, image)) as temporary:
        Image.fromarray(labels).save(temporary, format="PNG", pnginfo=notes)


def labelled_content(folder: Path, image: str) -> str | None:
    """Return the SHA-256 of the image file that a label map was made of; None without one."""
    try:
        with Image.open(label_file(folder, image)) as label_map:
            return str(label_map.info.get(_CONTENT, ""))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, SyntaxError):  # damaged
        return ""


def read_label_map(folder: Path, image: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the labels (H, W) of an image file.

    Args:
        folder: Of the label maps.
        image: The image file, as its data set names it.
        size: Rows and columns of the image.

    Raises:
        ImBenchError: The label map is missing, damaged, or not of the image's size.
    """
    path = label_file(folder, image)
    if not path.is_file():
        raise ImBenchError(
            f"image {image} has no pseudo-label {path}: let InconsistencyMaskHook make it by "
            "naming the folder as its cache_dir"
        )
    labels = read_mask(path)
    if labels.shape != size:
        raise ImBenchError(
            f"pseudo-label {path} is {labels.shape}, its image {size} (rows, columns): load "
            "pseudo-labels before resizing, and remove the folder if the images changed"
        )
    return labels.astype(np.uint8)


def image_files(dataset: Any) -> list[str]:
    """Return the image files of a data set of MMSegmentation, as it names them, each once."""
    files = (str(dataset.get_data_info(index)["img_path"]) for index in range(len(dataset)))
    return [*dict.fromkeys(files)]
