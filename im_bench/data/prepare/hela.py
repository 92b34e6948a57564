"""HeLa: living cells, dead cells and cell positions in bright-field photographs (multi-label)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from im_bench.data.prepare.recipe import Image, Piece, RawSplit, Recipe, Size
from im_bench.errors import ImBenchError

SIZE = (256, 256)
OVERLAP = 0.6
THRESHOLD = 10
CLASSES = ("alive", "dead", "position")


def crop_starts(length: int, crop: int) -> list[tuple[int, int]]:
    """Return ``(number, start)`` of the crops along one axis of ``length`` pixels.

    There are round(length / (0.4 crop)) evenly spaced starts, clamped to the border (original
    implementation). Where clamping makes neighbours identical, only the first is kept.

    Raises:
        ImBenchError: The photograph is smaller than a crop.
    """
    if length < crop:
        raise ImBenchError(
            f"a photograph of {length} pixels a side is too small for crops of {crop}: "
            f"give a smaller --size"
        )
    count = max(1, round(length / (crop * (1 - OVERLAP))))
    starts: dict[int, int] = {}
    for number in range(count):
        start = min(int(number * length / count), length - crop)
        starts.setdefault(start, number)
    return [(number, start) for start, number in starts.items()]


def convert(
    image: Image,
    masks: Sequence[Image],
    split: str,
    size: Size | None,
    rng: np.random.Generator,
) -> Iterator[Piece]:
    """Cut overlapping crops, without resizing, out of a photograph.

    Bit c of a label byte is set where mask c (alive, dead, position) is brighter than 10.
    """
    width, height = size or SIZE
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    label = np.zeros(grey.shape, np.uint8)
    for bit, mask in enumerate(masks):
        label |= (mask > THRESHOLD).astype(np.uint8) << bit
    rows = crop_starts(grey.shape[0], height)
    # The original numbers the crops column by column, before any is left out.
    per_column = max(1, round(grey.shape[0] / (height * (1 - OVERLAP))))
    for i, x in crop_starts(grey.shape[1], width):
        for j, y in rows:
            window = np.s_[y : y + height, x : x + width]
            yield Piece(f"_{i * per_column + j}", grey[window], label[window])


def _split(folder: str) -> RawSplit:
    return RawSplit(
        image=rf"(?:^|/){folder}/brightfield/(?P<name>[^/]+)\.(?:png|jpe?g|tiff?|bmp)$",
        masks=tuple(
            rf"(?:^|/){folder}/{channel}/(?P<name>[^/]+)\.png$"
            for channel in ("alive", "dead", "mod_position")
        ),
        example=f"{folder.removesuffix('(?:_full)?')}/brightfield/NAME.png",
        count=None,
    )


RECIPE = Recipe(
    name="hela",
    title="HeLa: living and dead cells in bright field",
    home="https://github.com/MichaelVorndran/InconsistencyMasks/tree/main/HeLa",
    archives=(),
    raw={"train": _split("train(?:_full)?"), "val": _split("val"), "test": _split("test")},
    description={
        "space": "multilabel",
        "channels": "grey",
        "classes": list(CLASSES),
        "cells": {name: bit for bit, name in enumerate(CLASSES)},
        "metric": "mcce",
    },
    convert=convert,
    labelled_pieces=True,
)
