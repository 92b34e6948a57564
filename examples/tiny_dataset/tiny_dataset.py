"""The recipe of a data set: how its raw files are found, divided and converted.

The raw files lie as many data sets have them: ``photos/NAME.jpg`` and ``outlines/NAME.png``,
without official splits. ``python tiny_dataset.py FOLDER`` draws 40 of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from im_bench.data.prepare.recipe import (
    Image,
    Piece,
    RawSplit,
    Recipe,
    Samples,
    Size,
    draw,
)


def convert(
    image: Image, masks: Sequence[Image], split: str, size: Size | None, rng: np.random.Generator
) -> Iterator[Piece]:
    """Resize to 64x64, or as asked; white in the mask is the disc."""
    width, height = size or (64, 64)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    label = cv2.resize(masks[0], (width, height), interpolation=cv2.INTER_NEAREST)
    yield Piece("", image, (label > 127).astype(np.uint8))


def divide(raw: Samples) -> Samples:
    """Draw a fifth of all images for the test, and a fifth for validation."""
    fifth = max(1, len(raw["all"]) // 5)
    test, rest = draw(raw["all"], fifth)
    val, train = draw(rest, fifth)
    return {"train": train, "val": val, "test": test}


RECIPE = Recipe(
    name="tiny",
    title="Bright discs on a dark ground",
    home="examples/tiny_dataset",
    archives=(),
    raw={
        "all": RawSplit(
            image=r"(?:^|/)photos/(?P<name>[^/]+)\.jpg$",
            masks=(r"(?:^|/)outlines/(?P<name>[^/]+)\.png$",),
            example="photos/disc-00.jpg and outlines/disc-00.png",
            count=40,
        )
    },
    description={"space": "binary", "channels": "rgb", "classes": ["disc"], "metric": "iou"},
    convert=convert,
    divide=divide,
)


def draw_raw(folder: Path, count: int = 40) -> None:
    """Draw the raw files."""
    rng = np.random.default_rng(0)
    for part in ("photos", "outlines"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        x, y = map(int, rng.integers(20, 76, 2))
        mask = cv2.circle(np.zeros((96, 96), np.uint8), (x, y), int(rng.integers(8, 20)), 255, -1)
        photo = rng.integers(0, 120, (96, 96, 3)) + mask[..., None] // 2
        cv2.imwrite(str(folder / "photos" / f"disc-{index:02d}.jpg"), photo.astype(np.uint8))
        cv2.imwrite(str(folder / "outlines" / f"disc-{index:02d}.png"), mask)


if __name__ == "__main__":
    draw_raw(Path(sys.argv[1]))
