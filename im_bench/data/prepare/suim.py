"""SUIM: underwater scenes (eight classes)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from im_bench.data.prepare.recipe import (
    Archive,
    Image,
    Piece,
    RawSplit,
    Recipe,
    Samples,
    Size,
    draw,
)

SIZE = (256, 256)
CROPS = 2
CLASSES = ("water", "diver", "plants", "wreck", "robot", "reef", "fish", "sea_floor")
"""In the order of the colour code 4 R + 2 G + B."""


def class_index(colours: Image) -> Image:
    """Return the class index 0…7 of every pixel of a colour mask ``(H, W, 3)`` in BGR order.

    A colour's bits are its channels at 128 or more: blurred colours near the borders of the
    official masks go to the nearest corner of the colour cube.
    """
    bits = (colours >= 128).astype(np.uint8)
    index: Image = 4 * bits[..., 2] + 2 * bits[..., 1] + bits[..., 0]
    return index


def convert(
    image: Image,
    masks: Sequence[Image],
    split: str,
    size: Size | None,
    rng: np.random.Generator,
) -> Iterator[Piece]:
    """Cut two random squares and resize them (image bilinear, label nearest).

    The side is uniform in [s, min(2 s, longest side)) for a target of s pixels; an image too small
    for it is resized whole (original implementation, where this is not seeded). Class 0 is left
    to the void: the eight classes become 1…8.
    """
    size = size or SIZE
    label = class_index(masks[0]) + 1
    height, width = label.shape
    smallest, largest = max(size), min(2 * max(size), max(height, width))
    for number in range(CROPS):
        side = int(rng.integers(smallest, largest)) if largest > smallest else smallest
        x, y, rows, columns = 0, 0, height, width
        if side <= min(height, width):
            x, y = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
            rows = columns = side
        window = np.s_[y : y + rows, x : x + columns]
        yield Piece(
            f"_{number}",
            cv2.resize(image[window], size, interpolation=cv2.INTER_LINEAR),
            cv2.resize(label[window], size, interpolation=cv2.INTER_NEAREST),
        )


def divide(raw: Samples) -> Samples:
    """Take 10 % of the official training images for validation."""
    training = raw["train"]
    val, train = draw(training, math.ceil(0.1 * len(training)))
    return {"train": train, "val": val, "test": raw["test"]}


def _split(folder: str, count: int) -> RawSplit:
    return RawSplit(
        image=rf"(?:^|/){folder}/images/(?P<name>[^/]+)\.jpg$",
        masks=(rf"(?:^|/){folder}/masks/(?P<name>[^/]+)\.bmp$",),
        example=f"{folder}/images/NAME.jpg",
        count=count,
    )


RECIPE = Recipe(
    name="suim",
    title="SUIM: segmentation of underwater imagery",
    home="https://irvlab.cs.umn.edu/resources/suim-dataset",
    archives=(Archive("train_val.zip"), Archive("TEST.zip")),
    raw={"train": _split("train_val", 1525), "test": _split("TEST", 110)},
    description={
        "space": "multiclass",
        "channels": "rgb",
        "classes": list(CLASSES),
        "reserve_zero": True,
        "metric": "miou",
    },
    convert=convert,
    divide=divide,
    labelled_count=lambda n: math.ceil(0.1 * n),
    colour_masks=True,
    masks_may_differ=True,
)
