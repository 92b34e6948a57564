"""From mask files, in any encoding that people use, to label bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from im_bench.data.description import (
    BACKGROUND,
    IGNORED,
    Colour,
    DataDescription,
    Encoding,
    Reading,
)
from im_bench.data.image_files import PLAIN, Pixels, WrongLabelError, read_colours, read_mask

Labels = NDArray[np.uint8]
Decoder = Callable[[DataDescription, Sequence[Path], list[Pixels]], Labels]

_MOST_VALUES = 5
_WRONG = -1


def read_label(
    description: DataDescription, masks: Sequence[Path], stored: list[Pixels] | None = None
) -> Labels:
    """Read an image's label map.

    Args:
        description: What the data set is.
        masks: The mask, or one mask per class in the order of the classes.
        stored: Receives the numbers (H, W) of each mask, unless it is read by colours.

    Returns:
        ``(H, W)`` label bytes: binary 0, 1, 255; multi-class 0..outputs-1, 255; multi-label bits.

    Raises:
        UnreadableImageError: A file cannot be read.
        WrongLabelError: A file holds a value or colour that the description does not know, or is
            a colour image where single values are expected, or the classes' masks differ in size.
    """
    return _DECODERS[description.encoding](description, masks, [] if stored is None else stored)


def read_label_bytes(path: Path, ignore: Sequence[int], reading: Reading = PLAIN) -> Labels:
    """Read a mask of any integers as label bytes, without a description.

    Args:
        path: The mask.
        ignore: Stored values that become 255.
        reading: How the file is read.

    Returns:
        ``(H, W)`` of 0..255.

    Raises:
        UnreadableImageError: The file cannot be read.
        WrongLabelError: It is a colour image, or a value is neither a byte nor in ``ignore``.
    """
    return _translate(
        read_mask(path, reading), {value: value for value in range(256)}, ignore, path
    )


def _read_labels(
    description: DataDescription, masks: Sequence[Path], stored: list[Pixels]
) -> Labels:
    if description.space == "multilabel":
        return _read_bits(description, masks, stored)
    values = range(2 if description.space == "binary" else description.outputs)
    table = {value: value for value in (*values, IGNORED)}
    return _translate(_numbers(description, masks[0], stored), table, description.ignore, masks[0])


def _read_bits(description: DataDescription, masks: Sequence[Path], stored: list[Pixels]) -> Labels:
    if description.space == "binary":
        raw = _numbers(description, masks[0], stored)
        label = (raw & 1).astype(np.uint8)
        label[np.isin(raw, description.ignore)] = IGNORED
        return label
    table = {value: value for value in range(1 << description.outputs)}
    return _translate(_numbers(description, masks[0], stored), table, description.ignore, masks[0])


def _read_index(
    description: DataDescription, masks: Sequence[Path], stored: list[Pixels]
) -> Labels:
    raw = _numbers(description, masks[0], stored)
    if description.space == "binary":
        label = _above(raw, description.threshold).astype(np.uint8)
        label[np.isin(raw, description.ignore)] = IGNORED
        return label
    first = int(description.reserve_zero)
    table = {value: value + first for value in range(len(description.classes))}
    return _translate(raw, table, description.ignore, masks[0])


def _read_palette(
    description: DataDescription, masks: Sequence[Path], stored: list[Pixels]
) -> Labels:
    palette = description.palette or {}
    first = 1 if description.space == "binary" else int(description.reserve_zero)
    table = {_code(palette[name]): first + index for index, name in enumerate(description.classes)}
    if description.space == "binary":
        # The class may itself be black, where everything else is ignored, say.
        table.setdefault(_code(palette.get(BACKGROUND, (0, 0, 0))), 0)
    table |= {_code(colour): IGNORED for colour in description.ignore if isinstance(colour, tuple)}

    pixels = read_colours(masks[0], description.reading).astype(np.uint32)
    codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    known = np.array(sorted(table), dtype=np.uint32)
    position = np.minimum(np.searchsorted(known, codes), known.size - 1)
    wrong = known[position] != codes
    if wrong.any():
        unknown = {
            str([int(code) >> 16, int(code) >> 8 & 255, int(code) & 255]): count
            for code, count in _counts(codes[wrong]).items()
        }
        raise WrongLabelError(
            f"{masks[0]}: the palette lacks {_counted('colour', unknown)}: add it to the palette "
            "or to ignore (JPEG masks cannot be read by colour: save masks as PNG)"
        )
    return np.array([table[int(code)] for code in known], dtype=np.uint8)[position]


def _read_files(
    description: DataDescription, masks: Sequence[Path], stored: list[Pixels]
) -> Labels:
    raws = [_numbers(description, mask, stored) for mask in masks]
    for mask, raw in zip(masks, raws, strict=True):
        if raw.shape != raws[0].shape:
            raise WrongLabelError(
                f"{mask}: is {_size(raw)} pixels but {masks[0]} is {_size(raws[0])}: "
                "the masks of one image need one size"
            )
    multilabel, first = description.space == "multilabel", int(description.reserve_zero)
    # Where no file speaks for a pixel, nobody vouches for it.
    nothing = 0 if multilabel or description.reserve_zero else IGNORED
    label = np.full(raws[0].shape, nothing, dtype=np.uint8)
    for index, raw in enumerate(raws):
        present = _above(raw, description.threshold)
        if multilabel:
            label |= present.astype(np.uint8) << index
        else:
            label[present] = index + first
    for raw in raws if description.ignore else ():
        label[np.isin(raw, description.ignore)] = IGNORED
    return label


def _numbers(description: DataDescription, path: Path, stored: list[Pixels]) -> NDArray[Any]:
    """Read ``(H, W)`` integers or booleans; those below 0 are ignored ones."""
    raw = read_mask(path, description.reading)
    stored.append(raw)
    if raw.dtype.kind == "i":
        strange = raw[(raw < 0) & ~np.isin(raw, description.ignore)]
        if strange.size:
            raise WrongLabelError(
                f"{path}: holds {_counted('value', _counts(strange))}: add negative values to "
                "`ignore`, or correct the mask"
            )
    return raw


def _above(raw: NDArray[Any], threshold: int) -> NDArray[np.bool_]:
    # A 1-bit file holds true and false, whatever the threshold of its 8-bit neighbours.
    return raw if raw.dtype == np.bool_ else raw > threshold


def _translate(
    raw: NDArray[Any], table: Mapping[int, int], ignore: Sequence[int | Colour], path: Path
) -> Labels:
    """Look raw values up in ``table``; ignored ones become 255."""
    table = {**table, **{value: IGNORED for value in ignore if isinstance(value, int)}}
    label = _looked_up(raw, table)
    wrong = label == _WRONG
    if wrong.any():
        highest = max(value for value, byte in table.items() if byte != IGNORED)
        raise WrongLabelError(
            f"{path}: holds {_counted('value', _counts(raw[wrong]))}, but the labels are 0 to "
            f"{highest}: correct the mask, or the classes or `ignore` of the description"
        )
    result: Labels = label.astype(np.uint8)
    return result


def _looked_up(raw: NDArray[Any], table: Mapping[int, int]) -> NDArray[Any]:
    """Return ``table``'s bytes in place of raw values of any width and sign, or _WRONG."""
    if raw.dtype == np.bool_:
        raw = raw.view(np.uint8)
    if raw.dtype.itemsize > 2:
        values, position = np.unique(raw, return_inverse=True)
        found = np.array([table.get(int(value), _WRONG) for value in values], np.int16)
        return found[position].reshape(raw.shape)
    # Of one or two bytes all values are listed, which is faster than sorting pixels. Negative ones
    # stand at the end, where Python's negative index and the bytes without sign both find them.
    unsigned = np.dtype(f"u{raw.dtype.itemsize}")
    lookup = np.full(1 << 8 * unsigned.itemsize, _WRONG, np.int16)
    limits = np.iinfo(raw.dtype)
    for value, byte in table.items():
        if limits.min <= value <= limits.max:
            lookup[value] = byte
    looked_up: NDArray[Any] = lookup[raw.view(unsigned)]
    return looked_up


def _counts(values: NDArray[Any]) -> dict[str, int]:
    found, counts = np.unique(values, return_counts=True)
    return {str(value): int(count) for value, count in zip(found, counts, strict=True)}


def _counted(what: str, counts: Mapping[str, int]) -> str:
    most = sorted(counts, key=lambda name: -counts[name])[:_MOST_VALUES]
    shown = ", ".join(
        f"{name} ({counts[name]} pixel{'s' if counts[name] > 1 else ''})" for name in most
    )
    rest = len(counts) - len(most)
    return f"the {what}{'s' if len(counts) > 1 else ''} {shown}" + (
        f" and {rest} more" if rest else ""
    )


def _code(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _size(raw: NDArray[Any]) -> str:
    return f"{raw.shape[1]}x{raw.shape[0]}"


_DECODERS: Mapping[Encoding, Decoder] = {
    "labels": _read_labels,
    "index": _read_index,
    "palette": _read_palette,
    "bits": _read_bits,
    "files": _read_files,
}
