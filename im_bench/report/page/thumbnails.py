"""Small pictures as data URIs, each different one once, within a budget of bytes."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

#: Longest side, in pixels.
SIDE = 160
#: Width of what lies between the panels of a strip.
GAP = 4
#: With so many colours at most a picture is a map, whose colours must not blend.
MAP_COLOURS = 48
QUALITY = 76

Pixels = NDArray[np.uint8]
"""(H, W, 3), RGB."""


class Thumbnails:
    """The pictures of a page."""

    def __init__(self) -> None:
        self.uris: list[str] = []
        self._budget = self._used = 0
        self._known: dict[bytes, int] = {}

    @property
    def full(self) -> bool:
        """Whether the budget is spent."""
        return self._used >= self._budget

    def allow(self, characters: int) -> None:
        """Let the data URIs have so many more characters together."""
        self._budget = self._used + characters

    def add(self, pixels: Pixels) -> int:
        """Add a picture, unless it is there; return its number."""
        content = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        if content not in self._known:
            uri = _data_uri(pixels)
            self._known[content] = len(self.uris)
            self.uris.append(uri)
            self._used += len(uri)
        return self._known[content]


def read_strip(path: Path, panels: Sequence[int]) -> list[Pixels] | None:
    """Return the panels of a strip, from left to right.

    Args:
        path: The picture.
        panels: How many there may be, the likeliest number first.

    Returns:
        The panels, or None if there is no such picture, or none of so many panels.
    """
    try:
        with Image.open(path) as picture:
            strip = np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    width = strip.shape[1]
    for count in panels:
        each, rest = divmod(width - GAP * (count - 1), count)
        starts = [k * (each + GAP) for k in range(count)]
        if rest or each < 1:
            continue
        if all((strip[:, start - GAP : start] == 255).all() for start in starts[1:]):
            return [strip[:, start : start + each] for start in starts]
    return None


def _data_uri(pixels: Pixels) -> str:
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    is_map = picture.getcolors(MAP_COLOURS) is not None
    if max(picture.size) > SIDE:
        how = Image.Resampling.NEAREST if is_map else Image.Resampling.LANCZOS
        picture.thumbnail((SIDE, SIDE), how)
    file = io.BytesIO()
    picture.save(file, "WEBP", lossless=is_map, quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
