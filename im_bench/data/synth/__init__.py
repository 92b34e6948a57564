"""Procedurally drawn data in the raw layout of each official data set.

The same preparation runs on it, so that everything can be tried without a download.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import cv2

from im_bench.data.synth import cityscapes, hela, isic2018, suim
from im_bench.data.synth.canvas import Bytes, Random, Size, generator
from im_bench.errors import ImBenchError, unknown_name
from im_bench.files import atomic_path

SMALLEST = 32
"""The least side of an image in pixels: below it the shapes are no more than dots."""


class _Painter(Protocol):
    def paths(self, split: str, index: int) -> tuple[str, tuple[str, ...]]: ...

    def draw(self, rng: Random, size: Size) -> tuple[Bytes, tuple[Bytes, ...]]: ...


PAINTERS: Mapping[str, _Painter] = {
    "isic2018": isic2018,
    "hela": hela,
    "suim": suim,
    "cityscapes": cityscapes,
}


def synthesise(name: str, root: Path, images: Mapping[str, int], seed: int, size: Size) -> Path:
    """Draw a data set in its official raw layout.

    An image depends on the seed, its split and its number only: more images of a split leave the
    first ones as they are.

    Args:
        name: ``isic2018``, ``hela``, ``suim`` or ``cityscapes``.
        root: The folder of raw data sets.
        images: Number of raw images for each of ``train``, ``val`` and ``test``. Where the official
            layout has no such split, the images lie in the one that the preparation divides: SUIM's
            for validation among those for training, Cityscapes' for the test among those for
            validation.
        seed: Seed of the drawing.
        size: ``(width, height)`` of the raw images in pixels.

    Returns:
        The raw folder, ``<root>/<name>``.

    Raises:
        ImBenchError: The data set is unknown, or the size or a number is too small.
    """
    if name not in PAINTERS:
        raise unknown_name("data set", name, PAINTERS)
    if min(size) < SMALLEST:
        raise ImBenchError(
            f"images of {size[0]}x{size[1]} pixels are too small to draw {name}: "
            f"each side needs at least {SMALLEST}"
        )
    painter, folder = PAINTERS[name], root / name
    for split, count in images.items():
        for index in range(count):
            image, masks = painter.draw(generator(seed, split, index), size)
            image_path, mask_paths = painter.paths(split, index)
            for path, pixels in zip((image_path, *mask_paths), (image, *masks), strict=True):
                _write(folder / path, pixels)
    return folder


def _write(path: Path, pixels: Bytes) -> None:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == ".jpg" else []
    content = cv2.imencode(path.suffix, pixels, quality)[1].tobytes()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
