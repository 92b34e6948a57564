"""Volumes in multi-page TIFF files, read as if each slice were a file."""

from __future__ import annotations

import io
import re
import struct
import threading
from functools import lru_cache

from PIL import Image

from im_bench.data.prepare.sources import Mark, RawFiles
from im_bench.errors import ImBenchError

_OPEN_AT_A_TIME = 2  # a volume and its labels
# What Pillow raises about damaged TIFF files.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, struct.error)


def with_slices(raw: RawFiles, volumes: str) -> RawFiles:
    """Return the same files, but for volumes: their slices ``PATH/0``, ``PATH/1`` and so on.

    A slice reads as a PNG file, without loss.

    Args:
        raw: Files of which some are volumes.
        volumes: Regular expression of the paths of volumes; each is read into memory as a whole.

    Raises:
        ImBenchError: A volume is no readable TIFF file.
    """
    return RawFiles([_Slices(raw, re.compile(volumes))])


class _Slices:
    def __init__(self, raw: RawFiles, volumes: re.Pattern[str]) -> None:
        self._raw = raw
        self._lock = threading.Lock()  # a TIFF file has one place at which it is read
        self._open = lru_cache(_OPEN_AT_A_TIME)(self._read_volume)
        self._slices: dict[str, tuple[str, int]] = {}
        self.marks: dict[str, Mark] = {}
        for path, mark in raw.marks.items():
            if not volumes.search(path):
                self.marks[path] = mark
                continue
            for number in range(self._count(path)):
                self._slices[f"{path}/{number}"] = (path, number)
                self.marks[f"{path}/{number}"] = mark

    def read(self, path: str) -> bytes:
        if path not in self._slices:
            return self._raw.read(path)
        volume, number = self._slices[path]
        try:
            with self._lock:
                image = self._open(volume)
                image.seek(number)
                pixels = image.copy()
            file = io.BytesIO()
            pixels.save(file, "png", compress_level=1)
        except _DAMAGE as error:
            raise ImBenchError(
                f"slice {number} of {volume} cannot be read ({error}): get the file again"
            ) from error
        return file.getvalue()

    def _count(self, volume: str) -> int:
        try:
            with self._lock:
                return int(getattr(self._open(volume), "n_frames", 1))
        except _DAMAGE as error:
            raise ImBenchError(
                f"the slices of {volume} cannot be counted ({error}): get the file again"
            ) from error

    def _read_volume(self, path: str) -> Image.Image:
        content = self._raw.read(path)
        try:
            return Image.open(io.BytesIO(content), formats=["TIFF"])
        except _DAMAGE as error:
            raise ImBenchError(
                f"{path} ({len(content):,} bytes) is no readable TIFF volume: get it again"
            ) from error
