"""Pseudo-labels on disk: which images were kept, their labels, and where teachers disagree.

The images are not written again: a student's data set takes them from the packed arrays and blanks
them, which costs one pass when a training starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from im_bench.errors import ImBenchError
from im_bench.files import atomic_path, read_json, write_json

FORMAT = "pseudo.json"


def write_pseudo_labels(
    folder: Path,
    indices: NDArray[np.int64],
    labels: NDArray[np.uint8],
    inconsistent: NDArray[np.bool_],
    blank: bool,
) -> None:
    """Write the pseudo-labels of the images that were kept, each file atomically.

    Args:
        folder: Receives ``indices.npy``, ``labels.npy``, ``masks.npy`` (bits packed along the
            width) and, last, ``pseudo.json``.
        indices: (n,), positions of the images among the training images.
        labels: Label bytes (n, H, W).
        inconsistent: (n, H, W).
        blank: Whether a student sees inconsistent pixels in black.
    """
    masks = np.packbits(inconsistent, axis=-1)
    for name, array in (("indices", indices), ("labels", labels), ("masks", masks)):
        with atomic_path(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)
    write_json(folder / FORMAT, {"images": len(indices), "blank": blank})


def count_pseudo_labels(folder: Path) -> int:
    """Return how many images a pseudo-label stage kept."""
    return int(_read_format(folder)["images"])


def read_pseudo_labels(folder: Path, train_images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the images as a student sees them, and their labels.

    Args:
        folder: Of a pseudo-label stage.
        train_images: All training images, uint8 (N, H, W, C).

    Returns:
        uint8 (n, H, W, C), and uint8 (n, H, W).

    Raises:
        ImBenchError: A file is missing or broken, or belongs to other images.
    """
    form = _read_format(folder)
    indices, labels, inconsistent = _read_arrays(folder, train_images.shape)
    images = train_images[torch.from_numpy(indices)]
    if form["blank"]:
        images = images.masked_fill(torch.from_numpy(inconsistent)[..., None], 0)
    return images, torch.from_numpy(labels)


def read_masks(
    folder: Path, positions: NDArray[np.int64], shape: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return what teachers agree on in some images, and where they do not agree.

    Args:
        folder: Of a pseudo-label stage.
        positions: (n,), of the images among the training images.
        shape: Of the array of all training images, (N, H, W, C).

    Returns:
        uint8 (n, H, W) and bool (n, H, W). An image without pseudo-label is inconsistent all over.

    Raises:
        ImBenchError: A file is missing or broken, or belongs to other images.
    """
    indices, labels, inconsistent = _read_arrays(folder, shape)
    consensus = np.zeros((len(positions), *shape[1:3]), np.uint8)
    disputed = np.ones(consensus.shape, np.bool_)
    _, rows, kept = np.intersect1d(positions, indices, return_indices=True)
    consensus[rows], disputed[rows] = labels[kept], inconsistent[kept]
    return torch.from_numpy(consensus), torch.from_numpy(disputed)


def _read_arrays(
    folder: Path, shape: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.bool_]]:
    """Return positions, labels and inconsistency masks of the images that were kept."""
    try:
        indices, labels, masks = (
            np.load(folder / f"{name}.npy", allow_pickle=False)
            for name in ("indices", "labels", "masks")
        )
    except (OSError, ValueError) as error:
        raise ImBenchError(
            f"the pseudo-labels in {folder} cannot be read ({error}): run their stage again"
        ) from None
    count, height, width = shape[:3]
    if labels.shape != (len(indices), height, width) or (indices >= count).any():
        raise ImBenchError(
            f"{folder}: pseudo-labels of shape {labels.shape} do not belong to "
            f"{count} training images of {width}x{height}: make them anew"
        )
    return indices, labels, np.unpackbits(masks, axis=-1, count=width).view(np.bool_)


def _read_format(folder: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_json(folder / FORMAT)
    except (OSError, ValueError) as error:
        raise ImBenchError(
            f"{folder / FORMAT} cannot be read ({error}): run the pseudo-label stage again"
        ) from None
    return content
