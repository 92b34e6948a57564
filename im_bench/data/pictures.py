"""Label maps as pictures: colours, overlays, and strips of panels side by side."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from im_bench.files import atomic_path

Picture = NDArray[np.uint8]
"""(H, W, 3), RGB."""

_IGNORED_COLOUR = (128, 128, 128)


def palette(count: int) -> Picture:
    """Return ``count`` RGB colours, (count, 3), that neighbouring indices tell apart.

    Hues go round by the golden ratio, so the first colours do not change with the count.
    """
    golden = 0.61803398875
    colours = [
        colorsys.hsv_to_rgb((0.33 + index * golden) % 1, 0.85 - 0.25 * (index % 2), 1.0)
        for index in range(count)
    ]
    return (np.array(colours).reshape(-1, 3) * 255).round().astype(np.uint8)


def colour_table(space: str, outputs: int) -> Picture:
    """Return the RGB colour of each of the 256 label bytes, (256, 3).

    Background, and class 0 of a multi-class task, is black; ignored pixels are grey. Where several
    multi-label classes are present, their colours are averaged.

    Args:
        space: ``binary``, ``multiclass`` or ``multilabel``.
        outputs: Number of the network's outputs.
    """
    table = np.zeros((256, 3), np.uint8)
    if space == "multilabel":
        bits = (np.arange(256)[:, None] >> np.arange(outputs)) & 1
        mean = bits @ palette(outputs).astype(float) / np.maximum(bits.sum(1, keepdims=True), 1)
        table[:] = mean.round()
        return table
    classes = 2 if space == "binary" else outputs
    table[1:classes] = palette(classes - 1)
    table[255] = _IGNORED_COLOUR
    return table


def colour(labels: NDArray[np.uint8], space: str, outputs: int) -> Picture:
    """Return a label map (H, W) in colour."""
    table = colour_table(space, outputs)
    picture: Picture = table[labels]
    return picture


def as_rgb(image: NDArray[np.uint8]) -> Picture:
    """Return an image (H, W, 1 or 3) as RGB."""
    return image if image.shape[-1] == 3 else np.repeat(image, 3, axis=-1)


def overlay(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    space: str,
    outputs: int,
    opacity: float = 0.5,
) -> Picture:
    """Return an image (H, W, 1 or 3) with its label map (H, W) laid over it in colour.

    Background stays as it is.
    """
    colours = colour(labels, space, outputs)
    share = np.where(labels[..., None] != 0, opacity, 0.0)
    mixed = as_rgb(image) * (1 - share) + colours * share
    picture: Picture = mixed.round().astype(np.uint8)
    return picture


def strip(panels: Sequence[Picture], gap: int = 4) -> Picture:
    """Return panels of one size side by side on white, ``gap`` pixels apart."""
    white = np.full((panels[0].shape[0], gap, 3), 255, np.uint8)
    parts: list[NDArray[Any]] = [panels[0]]
    for panel in panels[1:]:
        parts += [white, panel]
    return np.concatenate(parts, axis=1)


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture atomically: (H, W, 3) as RGB, (H, W) as grey."""
    ordered = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    _, data = cv2.imencode(".png", ordered)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
