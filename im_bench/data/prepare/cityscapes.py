"""Cityscapes: streets, with all label ids as the original implementation trains them."""

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

FACTOR = 0.2
MULTIPLE = 16
CLASSES = (
    "unlabeled",
    "ego vehicle",
    "rectification border",
    "out of roi",
    "static",
    "dynamic",
    "ground",
    "road",
    "sidewalk",
    "parking",
    "rail track",
    "building",
    "wall",
    "fence",
    "guard rail",
    "bridge",
    "tunnel",
    "pole",
    "polegroup",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "caravan",
    "trailer",
    "train",
    "motorcycle",
    "bicycle",
)
"""The label ids 0…33 (cityscapesScripts, ``helpers/labels.py``)."""


def reduced_size(width: int, height: int) -> Size:
    """Return 0.2 of the size, each side rounded up to a multiple of 16: 2048x1024 gives 416x208."""
    return (
        MULTIPLE * math.ceil(int(width * FACTOR) / MULTIPLE),
        MULTIPLE * math.ceil(int(height * FACTOR) / MULTIPLE),
    )


def convert(
    image: Image,
    masks: Sequence[Image],
    split: str,
    size: Size | None,
    rng: np.random.Generator,
) -> Iterator[Piece]:
    """Reduce image (bilinear) and label (nearest).

    Ids above 0 move up by one and id 0 stays 0, the void: class 1 never occurs (original
    implementation).
    """
    size = size or reduced_size(image.shape[1], image.shape[0])
    ids = cv2.resize(masks[0], size, interpolation=cv2.INTER_NEAREST)
    yield Piece(
        "",
        cv2.resize(image, size, interpolation=cv2.INTER_LINEAR),
        np.where(ids > 0, ids + 1, 0).astype(np.uint8),
    )


def divide(raw: Samples) -> Samples:
    """Halve the official validation images: the labels of the official test set are not public."""
    val, test = draw(raw["val"], len(raw["val"]) // 2)
    return {"train": raw["train"], "val": val, "test": test}


def _split(split: str, count: int) -> RawSplit:
    return RawSplit(
        image=rf"(?:^|/)leftImg8bit/{split}/[^/]+/(?P<name>[^/]+)_leftImg8bit\.png$",
        masks=(rf"(?:^|/)gtFine/{split}/[^/]+/(?P<name>[^/]+)_gtFine_labelIds\.png$",),
        example=f"leftImg8bit/{split}/CITY/CITY_000000_000000_leftImg8bit.png",
        count=count,
    )


RECIPE = Recipe(
    name="cityscapes",
    title="Cityscapes: urban streets, fine annotations",
    home="https://www.cityscapes-dataset.com/downloads/",
    # Checksums as the download page lists them to registered users, quoted by several projects.
    archives=(
        Archive("leftImg8bit_trainvaltest.zip", "md5:0a6e97e94b616a514066c9e2adb0c97f"),
        Archive("gtFine_trainvaltest.zip", "md5:4237c19de34c8a376e9ba46b495d6f66"),
    ),
    raw={"train": _split("train", 2975), "val": _split("val", 500)},
    description={
        "space": "multiclass",
        "channels": "rgb",
        "classes": list(CLASSES),
        "reserve_zero": True,
        "metric": "miou",
    },
    convert=convert,
    divide=divide,
)
