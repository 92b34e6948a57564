"""Image files that Pillow does not write: PNG of 2 and 4 bits, and TIFF of any numbers."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def write_png(
    path: Path, pixels: NDArray[Any], bits: int, colour: int = GREY, *chunks: bytes
) -> Path:
    """Write pixels (H, W) or (H, W, C) with any number of bits; ``chunks`` stand before them."""
    rows = pixels.reshape(len(pixels), -1)
    if bits == 16:
        packed = [row.astype(">u2").tobytes() for row in rows]
    else:
        levels = np.unpackbits(rows.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :]
        packed = [np.packbits(row).tobytes() for row in levels.reshape(len(rows), -1)]
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in packed))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunks)
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )
    return path


def write_tiff(
    path: Path,
    pixels: NDArray[Any],
    bits: int | None = None,
    photometric: int | None = None,
    extra: Sequence[int] = (),
    orientation: int = 1,
    big_endian: bool = False,
    content: bytes | None = None,
) -> Path:
    """Write pixels (H, W) or (H, W, C) of any type as an uncompressed TIFF.

    Args:
        path: The file.
        pixels: Its size and numbers.
        bits: Per channel, where ``content`` packs them otherwise.
        photometric: 0 white is zero, 1 black is zero, 2 RGB; by the number of channels.
        extra: What channels after the colours are: 0 unknown, 1 premultiplied, 2 plain alpha.
        orientation: The tag.
        big_endian: Byte order.
        content: The bytes of the pixels where they are packed.
    """
    order = ">" if big_endian else "<"
    channels = 1 if pixels.ndim == 2 else pixels.shape[-1]
    if content is None:
        content = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    if photometric is None:
        photometric = 2 if channels >= 3 else 1
    short, long = "H", "I"
    tags: list[tuple[int, str, Sequence[int]]] = [
        (256, short, [pixels.shape[1]]),
        (257, short, [pixels.shape[0]]),
        (258, short, [bits or 8 * pixels.dtype.itemsize] * channels),
        (259, short, [1]),
        (262, short, [photometric]),
        (273, long, [0]),
        (274, short, [orientation]),
        (277, short, [channels]),
        (278, short, [pixels.shape[0]]),
        (279, long, [len(content)]),
        (284, short, [1]),
    ]
    if extra:
        tags.append((338, short, extra))
    tags.append((339, short, [{"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]] * channels))
    behind = 8 + 2 + 12 * len(tags) + 4
    values = b""
    places: dict[int, bytes] = {}
    for number, code, entry in tags:
        packed = struct.pack(f"{order}{len(entry)}{code}", *entry)
        if len(packed) <= 4:
            places[number] = packed.ljust(4, b"\0")
        else:
            places[number] = struct.pack(f"{order}I", behind + len(values))
            values += packed
    places[273] = struct.pack(f"{order}I", behind + len(values))
    directory = b"".join(
        struct.pack(f"{order}HHI", number, {"H": 3, "I": 4}[code], len(entry)) + places[number]
        for number, code, entry in tags
    )
    path.write_bytes(
        (b"MM\0*" if big_endian else b"II*\0")
        + struct.pack(f"{order}IH", 8, len(tags))
        + directory
        + struct.pack(f"{order}I", 0)
        + values
        + content
    )
    return path
