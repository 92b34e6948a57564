"""Procedurally drawn data in the raw layout of each official data set.

The same preparation runs on it, so that everything can be tried without a download.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import cv2

from im_bench.data import versions
from im_bench.data.prepare import prepare
from im_bench.data.prepare.disk import explained_write_errors
from im_bench.data.synth import cityscapes, hela, isic2018, suim
from im_bench.data.synth.canvas import Bytes, Random, Size, generator
from im_bench.errors import ImBenchError, unknown_name
from im_bench.files import atomic_path, read_json, write_json

SMALLEST = 32
"""The least side of an image in pixels: below it the shapes are no more than dots."""

_DRAWN_LARGER = {"suim": 1.5}
"""Raw images are larger than prepared ones where the preparation cuts random squares."""


class _Painter(Protocol):
    def paths(self, split: str, index: int) -> tuple[str, tuple[str, ...]]: ...

    def draw(self, rng: Random, size: Size) -> tuple[Bytes, tuple[Bytes, ...]]: ...


PAINTERS: Mapping[str, _Painter] = {
    "isic2018": isic2018,
    "hela": hela,
    "suim": suim,
    "cityscapes": cityscapes,
}


def synthesise(name: str, folder: Path, images: Mapping[str, int], seed: int, size: Size) -> None:
    """Draw a data set in its official raw layout.

    An image depends on the seed, its split and its number only: more images of a split leave the
    first ones as they are.

    Args:
        name: ``isic2018``, ``hela``, ``suim`` or ``cityscapes``.
        folder: The raw folder.
        images: Number of raw images for each of ``train``, ``val`` and ``test``. Where the official
            layout has no such split, the images lie in the one that the preparation divides: SUIM's
            for validation among those for training, Cityscapes' for the test among those for
            validation.
        seed: Seed of the drawing.
        size: ``(width, height)`` in pixels that the prepared images will have; SUIM's raw images
            are drawn half as large again, because its preparation cuts random squares.

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
    painter, scale = PAINTERS[name], _DRAWN_LARGER.get(name, 1.0)
    drawn = (round(size[0] * scale), round(size[1] * scale))
    for split, count in images.items():
        for index in range(count):
            image, masks = painter.draw(generator(seed, split, index), drawn)
            image_path, mask_paths = painter.paths(split, index)
            for path, pixels in zip((image_path, *mask_paths), (image, *masks), strict=True):
                _write(folder / path, pixels)


def make(name: str, root: Path, images: Mapping[str, int], seed: int, size: Size) -> Path:
    """Draw a data set and prepare it, unless that has been done before.

    Args:
        name: ``isic2018``, ``hela``, ``suim`` or ``cityscapes``.
        root: The folder of data sets; the raw images go to ``<root>/raw/<name>-synth``.
        images: Number of raw images of each split, see :func:`synthesise`.
        seed: Seed of the drawing.
        size: ``(width, height)`` of the prepared images in pixels.

    Returns:
        The folder of the prepared data set, ``<root>/<name>-synth``.

    Raises:
        ImBenchError: A value is wrong, or the folder holds synthetic data of another kind.
    """
    title = f"{name}-synth"
    raw = root / "raw" / title
    request = {"version": versions.SYNTH, "images": dict(images), "seed": seed, "size": list(size)}
    with explained_write_errors(root):
        if not (raw / "drawn.json").is_file() or read_json(raw / "drawn.json") != request:
            shutil.rmtree(raw, ignore_errors=True)
            synthesise(name, raw, images, seed, size)
            write_json(raw / "drawn.json", request)
    return prepare(name, [raw], root=root, rename=title, size=size, allow_partial=True)


def _write(path: Path, pixels: Bytes) -> None:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == ".jpg" else []
    content = cv2.imencode(path.suffix, pixels, quality)[1].tobytes()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
