"""Mitochondria in a volume of electron microscopy: the EPFL hippocampus stack (binary).

Two sets of labels exist: those of the original (TIFF volumes), and the corrected ones of Lucchi++
(folders of slices). Either is prepared; numbers of one are not comparable with those of the other.
"""

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
    Sample,
    Samples,
    Size,
)

SLICES = 165


def convert(
    image: Image,
    masks: Sequence[Image],
    split: str,
    size: Size | None,
    rng: np.random.Generator,
) -> Iterator[Piece]:
    """Take a slice as it is, or resize it (image by area, label nearest) if a size is asked for.

    White is mitochondrion: the upper half of what a mask holds, whether that is 0/1 or 0/255.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    label = (masks[0] > masks[0].max() // 2).astype(np.uint8)
    if size is not None:
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
    yield Piece("", grey, label)


def divide(raw: Samples) -> Samples:
    """Take the last 10 % of the training volume for validation.

    It is a block, because a slice between two others is almost the same as they are.
    """
    train, test = (_in_order(raw[split]) for split in ("train", "test"))
    count = math.ceil(0.1 * len(train))
    return {"train": train[:-count], "val": train[-count:], "test": test}


def _in_order(samples: Sequence[Sample]) -> list[Sample]:
    """Return slices by their number, with names that sort alike."""
    numbered = sorted(samples, key=lambda sample: int(sample.name))
    return [sample._replace(name=f"{int(sample.name):04d}") for sample in numbered]


def _split(volume: str, folder: str) -> RawSplit:
    return RawSplit(
        image=rf"(?:^|/)(?:{volume}\.tiff?/|{folder}_In/mask)0*(?P<name>\d+)(?:\.png)?$",
        masks=(
            rf"(?:^|/)(?:{volume}_groundtruth\.tiff?/|{folder}_Out/)0*(?P<name>\d+)(?:\.png)?$",
        ),
        example=f"{folder}_In/mask0000.png and {folder}_Out/0.png, or {volume}.tif and "
        f"{volume}_groundtruth.tif",
        count=SLICES,
    )


RECIPE = Recipe(
    name="mitochondria",
    title="Mitochondria in the EPFL hippocampus volume",
    home="https://casser.io/connectomics/",
    # Its owners publish no checksum; this is the one that torch-em and micro-sam verify their
    # downloads with.
    archives=(
        Archive(
            "lucchi_pp.zip",
            "sha256:770ce9e98fc6f29c1b1a250c637e6c5125f2b5f1260e5a7687b55a79e2e8844d",
            "http://www.casser.io/files/lucchi_pp.zip",
        ),
    ),
    raw={"train": _split("training", "Train"), "test": _split("testing", "Test")},
    volumes=r"(?:^|/)(?:training|testing)(?:_groundtruth)?\.tiff?$",
    description={
        "space": "binary",
        "channels": "grey",
        "classes": ["mitochondrion"],
        "metric": "iou_dataset",
    },
    convert=convert,
    divide=divide,
)
