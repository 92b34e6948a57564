"""Image files as arrays: one reader for images, one for masks.

What a file means is decided by its own mode and numbers (:mod:`im_bench.data.image_headers`), never
by what fits into 8 bits. What cannot be read exactly is refused, with the field of the description
that says how to read it. Pillow decodes rather than OpenCV: it keeps the indices of paletted files
and reports truncated ones. OpenCV decodes what Pillow cannot: colours of 16 bits, and some TIFF.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from im_bench.data.description import Reading
from im_bench.data.image_headers import (
    ImageFacts,
    UnknownFormatError,
    UnreadableImageError,
    facts_of,
    opened,
    page_frames,
    tiff_facts,
)
from im_bench.errors import ImBenchError

Pixels = NDArray[Any]

PLAIN = Reading()
"""How files are read where no description says more."""

_UPRIGHT: Mapping[int, Callable[[Pixels], Pixels]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
"""What brings stored pixels (H, W, ...) of each orientation tag upright."""
_UNDONE = {6: 8, 8: 6}
_NO_RGB = {"CMYK": "CMYK", "LAB": "Lab", "HSV": "HSV"}
_MOST_OF_BITS = tuple((1 << bits) - 1 for bits in (8, 10, 12, 14, 16))


class WrongLabelError(ImBenchError):
    """A mask holds something that stands for no label."""


class _Decoded(NamedTuple):
    pixels: Pixels  # (H, W) or (H, W, C)
    facts: ImageFacts


def inspect(path: Path) -> ImageFacts:
    """Return what a file says of itself, from its header where Pillow knows its format.

    Raises:
        UnreadableImageError: The file is missing or no image.
    """
    try:
        with opened(path) as image:
            return facts_of(image, len(page_frames(image)))
    except UnknownFormatError:
        facts = tiff_facts(path)
        if facts is None:
            raise
        with _quiet_opencv():
            return replace(facts, pages=max(1, cv2.imcount(str(path))))


def read_image(
    path: Path, channels: Literal["rgb", "grey"], reading: Reading = PLAIN
) -> NDArray[np.uint8]:
    """Read a picture.

    Palettes are applied, fewer than 8 bits are spread over 0..255, grey becomes colour by
    repetition and colour grey by ITU-R 601 weights. More than 8 bits need ``reading.scale``, unless
    they are 8 bits spread over 16, which are exact: 257 times what 8 bits hold.

    Args:
        path: An image file.
        channels: What to make of it.
        reading: What the description says of reading.

    Returns:
        ``(H, W, 3)`` RGB or ``(H, W, 1)`` grey, in 0..255.

    Raises:
        UnreadableImageError: The file is missing, damaged, cut off or no image, or not to be read
            exactly: several pages without ``page``, a range that nobody names, transparency that
            hides colours, or colours that depend on a printer.
    """
    pixels, facts = _decoded(path, reading, as_picture=True)
    pixels = _eight_bits(path, _without_alpha(path, pixels, facts, reading), facts, reading)
    if channels == "grey":
        if pixels.ndim == 3:
            pixels = np.array(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))
        return pixels[..., None]
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)


def read_mask(path: Path, reading: Reading = PLAIN) -> Pixels:
    """Read a mask's numbers as they are stored.

    Args:
        path: A mask file: of any integers, of fractions that are whole numbers, with palette (then
            its indices), or with colours that are all grey.
        reading: What the description says of reading; ``scale`` does not count.

    Returns:
        ``(H, W)``: ``bool`` for 1-bit files, otherwise integers.

    Raises:
        UnreadableImageError: As `read_image`.
        WrongLabelError: It is a colour image, or holds fractions.
    """
    pixels, facts = _decoded(path, reading, as_picture=False)
    if facts.white_is_zero:
        raise UnreadableImageError(
            f"{path}: is a TIFF that counts from white to black, whose labels programs read in two "
            "ways: save it as PNG"
        )
    pixels = _without_alpha(path, pixels, facts, reading)
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise WrongLabelError(
                f"{path}: is a colour image: describe its colours with `encoding: palette`"
            )
        pixels = pixels[..., 0]
    if pixels.dtype.kind == "f":
        if not (np.isfinite(pixels) & (pixels == np.rint(pixels))).all():
            raise WrongLabelError(f"{path}: holds fractional numbers: save the mask as 8-bit PNG")
        pixels = pixels.astype(np.int64)
    return pixels


def read_colours(path: Path, reading: Reading = PLAIN) -> NDArray[np.uint8]:
    """Read a mask's colours: ``(H, W, 3)`` RGB.

    Raises:
        UnreadableImageError: As `read_image`.
    """
    return read_image(path, "rgb", replace(reading, scale=None))


def _decoded(path: Path, reading: Reading, as_picture: bool) -> _Decoded:
    """Decode the page that is asked for and turn it upright.

    Args:
        path: An image file.
        reading: What the description says.
        as_picture: Give what is to be seen rather than what is stored: colours instead of indices,
            and fewer than 8 bits spread over 0..255.
    """
    try:
        with opened(path) as image:
            return _decoded_by_pillow(path, image, reading, as_picture)
    except UnknownFormatError:
        facts = inspect(path)  # raises again unless it is a TIFF of numbers that Pillow lacks
    _check_page(path, facts.pages, reading)
    pixels = _by_opencv(path, reading.page or 0) if facts.bits in (8, 16, 32, 64) else None
    if pixels is None or (facts.orientation != 1 and reading.orientation == "ignore"):
        turned = f" with orientation {facts.orientation}" if facts.orientation > 1 else ""
        raise UnreadableImageError(
            f"{path}: is a TIFF of {facts.channels} channel{'s' * (facts.channels > 1)} of "
            f"{facts.bits}-bit {facts.dtype.rstrip('0123456789')} numbers{turned}, which cannot be "
            "read: save it in a usual form, such as PNG"
        )
    return _Decoded(pixels, facts)


def _decoded_by_pillow(
    path: Path, image: ImageFile, reading: Reading, as_picture: bool
) -> _Decoded:
    frames = page_frames(image)
    _check_page(path, len(frames), reading)
    frame = frames[reading.page or 0]
    if frame:
        image.seek(frame)
    facts = facts_of(image, len(frames))
    if facts.mode in _NO_RGB:
        raise UnreadableImageError(
            f"{path}: holds {_NO_RGB[facts.mode]} colours, which become RGB by a colour profile "
            "only: save it as RGB"
        )
    image.load()
    turned = facts.format == "TIFF"  # which Pillow brings upright itself
    if facts.dtype == "uint16" and len(image.getbands()) > 1:
        # Pillow keeps the upper 8 bits of these, but it notices where a file is cut off.
        found = _by_opencv(path, frame)
        if found is None:
            raise UnreadableImageError(
                f"{path}: holds colours of 16 bits in a form that cannot be read: save it as PNG"
            )
        pixels = found
    elif facts.mode == "YCbCr":
        pixels = np.array(image.convert("RGB"))
    elif as_picture and facts.mode in ("P", "PA"):
        pixels = np.array(image.convert("RGBA" if facts.has_alpha else "RGB"))
    else:
        pixels = _stored(np.array(image), facts, as_picture)
    orientation = facts.orientation
    if turned and reading.orientation == "ignore":
        pixels = _UPRIGHT[_UNDONE.get(orientation, orientation)](pixels)
    elif not turned and reading.orientation == "apply":
        pixels = _UPRIGHT[orientation](pixels)
    key = image.info.get("transparency")
    keyed = facts.mode in ("1", "L", "RGB", "I;16") and pixels.shape[2:] != (4,)
    if as_picture and facts.has_alpha and keyed:
        pixels = _with_alpha(pixels, key, facts)
    return _Decoded(np.ascontiguousarray(pixels), facts)


def _stored(pixels: Pixels, facts: ImageFacts, as_picture: bool) -> Pixels:
    """Undo what Pillow does to numbers that are not of 8 bits."""
    if facts.highest is not None and (facts.dtype == "uint16" or not as_picture):
        most = 65535 if facts.dtype == "uint16" else 255
        return np.rint(pixels * (facts.highest / most)).astype(facts.dtype)
    if pixels.dtype == np.bool_:
        truth: Pixels = pixels.view(np.uint8) != 0  # Pillow stores true as 255, NumPy as 1.
        return truth
    if facts.mode == "L" and facts.bits < 8 and not as_picture:
        return pixels // (255 // ((1 << facts.bits) - 1))
    # Pillow keeps signed bytes as unsigned ones, and 32 unsigned bits as signed ones.
    return pixels.astype(facts.dtype, copy=False)


def _with_alpha(pixels: Pixels, key: Any, facts: ImageFacts) -> Pixels:
    """Append the alpha that a transparent colour stands for."""
    if facts.bits < 8:
        key = key * (255 // ((1 << facts.bits) - 1))
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    channels = pixels.reshape(*pixels.shape[:2], -1)
    opaque = (channels != np.asarray(key)).any(axis=-1)
    alpha = opaque.astype(pixels.dtype) * np.iinfo(pixels.dtype).max
    return np.dstack([channels, alpha])


def _check_page(path: Path, pages: int, reading: Reading) -> None:
    if pages > 1 and reading.page is None:
        raise UnreadableImageError(
            f"{path}: has {pages} pages: say in the description which one is meant, such as "
            f"`page: 0` for the first and `page: {pages - 1}` for the last, or save each as a file"
        )
    if (reading.page or 0) >= pages:
        has = f"{pages} pages" if pages > 1 else "one page"
        raise UnreadableImageError(
            f"{path}: has {has}, but the description asks for `page: {reading.page}` (the first is "
            "0): correct it, or replace the file"
        )


def _without_alpha(path: Path, pixels: Pixels, facts: ImageFacts, reading: Reading) -> Pixels:
    """Return the colours (H, W) or (H, W, 3) where alpha says nothing that they do not say."""
    colours = pixels
    extra = facts.channels - pixels.shape[-1] if pixels.ndim == 3 else facts.channels - 1
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 4):
        colours, alpha = pixels[..., :-1], pixels[..., -1]
        transparent = alpha != _opaque(alpha.dtype)
        premultiplied = facts.mode in ("La", "RGBa")
        if reading.alpha != "drop" and not _is_constant(alpha):
            if _is_constant(colours):
                raise UnreadableImageError(
                    f"{path}: has one colour everywhere, so that no pixel is background or all "
                    "are, and its shapes are in the alpha channel only: save that as a grey PNG"
                )
            if (colours[transparent] != 0).any():
                raise UnreadableImageError(
                    f"{path}: is transparent in places where its colours are not black: save it "
                    "without transparency, or write `alpha: drop` into the description to read "
                    "the colours alone"
                )
        if premultiplied and transparent.any():
            raise UnreadableImageError(
                f"{path}: its colours are multiplied by its alpha channel and cannot be told "
                "exactly: save it without transparency"
            )
        if colours.shape[-1] == 1:
            colours = colours[..., 0]
    elif extra > 0 and facts.format == "TIFF" and reading.alpha != "drop":
        raise UnreadableImageError(
            f"{path}: has {facts.channels} channels, of which {extra} beyond grey or RGB: save it "
            "without these, or write `alpha: drop` into the description to read the others alone"
        )
    return colours


def _eight_bits(
    path: Path, pixels: Pixels, facts: ImageFacts, reading: Reading
) -> NDArray[np.uint8]:
    """Return numbers of any kind as 0..255, exactly or by the scale of the description."""
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind == "f" and np.isnan(pixels).any():
        raise UnreadableImageError(f"{path}: holds values that are no numbers (NaN): replace them")
    if facts.white_is_zero:
        raise UnreadableImageError(
            f"{path}: is a TIFF of {facts.bits} bits that counts from white to black: save it "
            "with black as zero"
        )
    if reading.scale is not None:
        low, high = reading.scale
        scaled = ((pixels.astype(np.float64) - low) * 255 / (high - low)).clip(0, 255)
        eight: NDArray[np.uint8] = np.rint(scaled).astype(np.uint8)
        return eight
    if pixels.dtype == np.uint16 and not (pixels % 257).any():
        return (pixels // 257).astype(np.uint8)
    low, high = pixels.min().item(), pixels.max().item()
    raise UnreadableImageError(
        f"{path}: holds {facts.dtype} values from {_short(low)} to {_short(high)}, and nobody says "
        "which of them are black and white: name both in the description, such as "
        f"`scale: {_suggested(low, high, facts)}`"
    )


def _suggested(low: float, high: float, facts: ImageFacts) -> str:
    """Return the range that such numbers mostly stand for."""
    if facts.dtype.startswith("float"):
        ranges: tuple[float, ...] = (1, 255, 65535)
    else:
        ranges = (facts.highest,) if facts.highest else _MOST_OF_BITS
    fitting = [most for most in ranges if low >= 0 and high <= most]
    if fitting:
        return f"[0, {fitting[0]}]"
    return f"[{_short(low)}, {_short(high if high > low else low + 1)}]"


def _short(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def _by_opencv(path: Path, page: int) -> Pixels | None:
    """Return the stored numbers, RGB or RGBA where there are colours; None if OpenCV fails, too."""
    try:
        with _quiet_opencv():
            _, pages = cv2.imreadmulti(str(path), page, 1, flags=cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if not pages:
        return None
    pixels: Pixels = pages[0]
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    return pixels if pixels.ndim == 2 else pixels[..., order[pixels.shape[-1]]]


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV's own account of failures from the terminal."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _is_constant(pixels: Pixels) -> bool:
    return bool((pixels == pixels[:1, :1]).all())


def _opaque(dtype: np.dtype[Any]) -> float:
    return np.iinfo(dtype).max if dtype.kind in "ui" else 1.0
