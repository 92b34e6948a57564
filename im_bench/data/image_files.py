"""Image files as arrays, exactly as stored or as 8-bit pictures.

Pillow rather than OpenCV: it keeps the indices of paletted files and reports truncated ones.
Orientation tags are not applied: an image and its mask are compared as they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from im_bench.errors import ImBenchError


class UnreadableImageError(ImBenchError):
    """A file that is missing, damaged, cut off or no image."""


def read_raw(path: Path) -> NDArray[np.generic]:
    """Read the stored values.

    Args:
        path: An image file.

    Returns:
        ``(H, W)`` or ``(H, W, C)``; ``bool`` for 1-bit files, ``uint8`` indices for paletted
        ones, otherwise the stored integers.

    Raises:
        UnreadableImageError: The file is missing, damaged, cut off or no image.
    """
    with _opened(path) as image:
        return np.array(image)


def read_image(path: Path, channels: Literal["rgb", "grey"]) -> NDArray[np.uint8]:
    """Read a picture.

    Alpha is dropped, palettes are applied, 16-bit values are divided by 256, and colour becomes
    grey by ITU-R 601 weights.

    Args:
        path: An image file.
        channels: What to make of it.

    Returns:
        ``(H, W, 3)`` RGB or ``(H, W, 1)`` grey, in 0..255.

    Raises:
        UnreadableImageError: The file is missing, damaged, cut off or no image.
    """
    with _opened(path) as image:
        if image.mode.startswith("I"):
            # Pillow would clip these to 255 instead of scaling them.
            image = Image.fromarray((np.array(image) >> 8).astype(np.uint8))
        pixels = np.array(image.convert("L" if channels == "grey" else "RGB"))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def is_deep(path: Path) -> bool:
    """Return whether a file has 16 or more bits per channel; False where it is no image."""
    try:
        with Image.open(path) as image:
            # Colours of 16 bits have a mode of 8, and only their decoder tells.
            return image.mode.startswith(("I", "F")) or ";16" in str(image.tile)
    except (OSError, SyntaxError, ValueError):
        return False


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            image.load()
            yield image
    except FileNotFoundError:
        raise UnreadableImageError(f"{path}: does not exist") from None
    except PermissionError:
        raise UnreadableImageError(f"{path}: may not be read: change its permissions") from None
    except UnidentifiedImageError:
        raise UnreadableImageError(
            f"{path}: is no readable image (empty, damaged, or of an unknown format): replace it"
        ) from None
    except Image.DecompressionBombError:
        raise UnreadableImageError(f"{path}: has too many pixels: cut it into tiles") from None
    # Pillow's decoders raise all of these on damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise UnreadableImageError(f"{path}: is damaged or cut off ({error}): replace it") from None
