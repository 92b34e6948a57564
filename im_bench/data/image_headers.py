"""What an image file says of itself before its pixels are decoded."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from im_bench.errors import ImBenchError

# Huge pictures are legitimate; beyond Pillow's hard limit they are refused in one sentence.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
# What is wrong with a TIFF's tags either hinders nothing or becomes an error.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")

_ORIENTATION = 0x0112
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_CHANNELS, _TIFF_NUMBERS = 258, 262, 277, 339
_TIFF_SUBFILE, _REDUCED = 254, 1
_TIFF_KINDS = {1: "uint", 2: "int", 3: "float", 4: "uint"}


class UnreadableImageError(ImBenchError):
    """A file that is missing, damaged, cut off, no image, or not to be read exactly."""


class UnknownFormatError(UnreadableImageError):
    """A file that Pillow does not know, or knows not in this variant."""


@dataclass(frozen=True)
class ImageFacts:
    """What a file stores.

    Attributes:
        format: ``PNG``, ``JPEG``, ``TIFF`` and so on; ``MPO`` is a JPEG of several pictures, of
            which the others are previews or depth.
        mode: Pillow's mode: ``L``, ``RGB``, ``P`` (indices with a palette), ``I;16`` and so on;
            ``La`` and ``RGBa`` where colours are multiplied by alpha.
        dtype: The stored numbers, as NumPy names them; ``bool`` for 1 bit.
        bits: Per channel; 1, 2 or 4 where several share a byte.
        channels: Stored ones, alpha included.
        size: Width and height as stored, before ``orientation``.
        pages: How many pictures of full size there are: pages of a TIFF, frames of an animation.
        orientation: The tag of cameras, 1 (upright) to 8.
        has_alpha: Whether there is an alpha channel or a transparent colour.
        white_is_zero: Whether a grey TIFF counts from white to black.
        highest: The number that stands for full brightness where the file says so (PGM), else None.
    """

    format: str
    mode: str
    dtype: str
    bits: int
    channels: int
    size: tuple[int, int]
    pages: int = 1
    orientation: int = 1
    has_alpha: bool = False
    white_is_zero: bool = False
    highest: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether all readers agree: one upright picture, 8-bit grey or RGB, no transparency."""
        return (
            self.mode in ("L", "RGB")
            and self.dtype == "uint8"
            and self.bits == 8
            and self.channels == {"L": 1, "RGB": 3}[self.mode]
            and self.pages == 1
            and self.orientation == 1
            and not (self.has_alpha or self.white_is_zero or self.highest)
        )


@contextmanager
def opened(path: Path) -> Iterator[ImageFile]:
    """Open an image file; nothing is decoded before its ``load`` is called.

    Raises:
        UnreadableImageError: Now or within the context: the file is missing, damaged, cut off, no
            image, or too large.
    """
    # By its handle: Pillow turns an uncompressed TIFF wrongly where it can map the file.
    with told(path), path.open("rb") as file, Image.open(file) as image:
        yield image


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say in one sentence what Pillow and the system say of a file that cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise UnreadableImageError(f"{path}: does not exist") from None
    except IsADirectoryError:
        raise UnreadableImageError(f"{path}: is a folder, not an image") from None
    except PermissionError:
        raise UnreadableImageError(f"{path}: may not be read: change its permissions") from None
    except UnidentifiedImageError:
        raise UnknownFormatError(
            f"{path}: is no readable image (empty, damaged, or of an unknown format): replace it"
        ) from None
    except Image.DecompressionBombError:
        raise UnreadableImageError(f"{path}: has too many pixels: cut it into tiles") from None
    # Pillow's decoders raise all of these on damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
        raise UnreadableImageError(f"{path}: is damaged or cut off ({error}): replace it") from None


def page_frames(image: ImageFile) -> list[int]:
    """Return where the pictures of full size lie among a file's frames; the first is chosen."""
    # The other pictures of an MPO are the camera's previews or depth, which no viewer shows.
    frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    if image.format != "TIFF" or frames == 1:
        return [*range(frames)]
    whole = []
    for index in range(frames):
        image.seek(index)
        if not int(_tags(image).get(_TIFF_SUBFILE, 0)) & _REDUCED:
            whole.append(index)
    image.seek(0)
    return whole or [0]


def facts_of(image: ImageFile, pages: int = 1) -> ImageFacts:
    """Return what an open image says of itself, or of the page that is chosen, without decoding."""
    mode, (raw, highest) = image.mode, _raw_mode(image)
    size, orientation = image.size, orientation_of(image)
    dtype, bits = _numbers(mode, raw)
    channels, white_is_zero = len(image.getbands()), False
    if raw.startswith("LA;16"):
        channels = 2
    if image.format == "TIFF":
        numbers, stored, channels, white_is_zero = _tiff_numbers(_tags(image))
        if stored > 1:
            dtype, bits = numbers, stored
        if orientation > 4:
            size = size[::-1]  # Pillow gives that of the upright picture.
    elif highest is not None:
        dtype, bits = ("uint8" if highest < 256 else "uint16"), highest.bit_length()
    return ImageFacts(
        format=image.format or "",
        mode=f"{mode[:-1]}a" if raw.startswith(("RGBa", "La")) else mode,
        dtype=dtype,
        bits=bits,
        channels=channels,
        size=size,
        pages=pages,
        orientation=orientation,
        has_alpha=mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info,
        white_is_zero=white_is_zero,
        highest=highest,
    )


def orientation_of(image: ImageFile) -> int:
    """Return the orientation tag, 1 where there is none; of TIFF before it is loaded only."""
    if image.format == "TIFF":
        found = _tags(image).get(_ORIENTATION, 1)
    elif image.format == "PNG" and not _png_may_turn(image):
        return 1
    else:
        if image.format == "PNG":
            image.load()  # or a damaged picture would pass for damaged tags
        try:
            found = image.getexif().get(_ORIENTATION, 1)
        except (OSError, SyntaxError, ValueError, KeyError, struct.error):
            return 1  # Pictures with damaged tags are shown as they are, here as elsewhere.
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _png_may_turn(image: ImageFile) -> bool:
    """Whether chunks of a PNG can hold an orientation; Pillow decodes all pixels to tell."""
    file = image.fp
    if file is None:  # It is decoded already, and Pillow knows.
        return True
    place = file.tell()
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            start = file.read(min(length, 32)) if kind in (b"iTXt", b"tEXt", b"zTXt") else b""
            if kind == b"eXIf" or start.startswith((b"XML:com.adobe", b"Raw profile type")):
                return True
            file.seek(length - len(start) + 4, 1)
    finally:
        file.seek(place)
    return False


def _raw_mode(image: ImageFile) -> tuple[str, int | None]:
    """Return how pixels lie in the file, in Pillow's words, and the highest number of a PGM."""
    tile = image.tile[0] if image.tile else None
    args: Any = tile[3] if tile else None
    first = args[0] if isinstance(args, tuple) and args else args
    raw = first if isinstance(first, str) else image.mode
    if tile and str(tile[0]).startswith("ppm") and args[1] not in (255, 65535):
        return image.mode, int(args[1])
    return (f"{raw};16" if tile and str(tile[0]).startswith("ppm") and args[1] > 255 else raw), None


def _numbers(mode: str, raw: str) -> tuple[str, int]:
    if mode == "1":
        return "bool", 1
    if mode == "F":
        return "float32", 32
    if mode == "I":
        return ("uint16", 16) if ";16" in raw else ("int32", 32)
    if mode.startswith("I;16") or ";16" in raw:
        return "uint16", 16
    packed = re.fullmatch(r"[LP];([124])I?R?", raw)
    return "uint8", int(packed[1]) if packed else 8


def _tags(image: ImageFile) -> Any:
    return image.tag_v2  # type: ignore[attr-defined]


def tiff_facts(path: Path) -> ImageFacts | None:
    """Return what the first page of a TIFF says that Pillow does not open; None: it is no TIFF."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
            if head[:4] not in (b"II*\0", b"MM\0*"):
                return None
            tags = ImageFileDirectory_v2(head)
            file.seek(tags.next)
            tags.load(file)
        size = int(tags[256]), int(tags[257])
        dtype, bits, channels, white_is_zero = _tiff_numbers(tags)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return None
    found = tags.get(_ORIENTATION, 1)
    return ImageFacts(
        format="TIFF",
        mode="L" if channels == 1 else "RGB" if channels == 3 else "RGBA",
        dtype=dtype,
        bits=bits,
        channels=channels,
        size=size,
        orientation=found if found in range(1, 9) else 1,
        has_alpha=channels == 4,
        white_is_zero=white_is_zero,
    )


def _tiff_numbers(tags: Any) -> tuple[str, int, int, bool]:
    """Return dtype, bits and number of the channels, and whether white is zero."""
    kind = _TIFF_KINDS.get(int(tags.get(_TIFF_NUMBERS, (1,))[0]), "complex")
    bits = int(tags.get(_TIFF_BITS, (1,))[0])
    dtype = f"{kind}{16 if 8 < bits < 16 else max(bits, 8)}"
    white_is_zero = bits > 1 and tags.get(_TIFF_PHOTOMETRIC) == 0
    return dtype, bits, int(tags.get(_TIFF_CHANNELS, 1)), white_is_zero
