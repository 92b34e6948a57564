"""From mask files, in any encoding that people use, to label bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from im_bench.data.description import BACKGROUND, IGNORED, Colour, DataDescription, Encoding
from im_bench.data.image_files import read_image, read_raw
from im_bench.errors import ImBenchError

Labels = NDArray[np.uint8]
Decoder = Callable[[DataDescription, Sequence[Path]], Labels]

_MOST_VALUES = 5


class WrongLabelError(ImBenchError):
    """A mask holds something that stands for no label."""


def read_label(description: DataDescription, masks: Sequence[Path]) -> Labels:
    """Read an image's label map.

    Args:
        description: What the data set is.
        masks: The mask, or one mask per class in the order of the classes.

    Returns:
        ``(H, W)`` label bytes: binary 0, 1, 255; multi-class 0..outputs-1, 255; multi-label bits.

    Raises:
        UnreadableImageError: A file cannot be read.
        WrongLabelError: A file holds a value or colour that the description does not know, or is
            a colour image where single values are expected, or the classes' masks differ in size.
    """
    return _DECODERS[description.encoding](description, masks)


def _read_labels(description: DataDescription, masks: Sequence[Path]) -> Labels:
    if description.space == "multilabel":
        return _read_bits(description, masks)
    values = range(2 if description.space == "binary" else description.outputs)
    table = {value: value for value in (*values, IGNORED)}
    return _translate(_single_channel(masks[0]), table, description, masks[0])


def _read_bits(description: DataDescription, masks: Sequence[Path]) -> Labels:
    if description.space == "binary":
        raw = _single_channel(masks[0])
        label = (raw & 1).astype(np.uint8)
        label[np.isin(raw, description.ignore)] = IGNORED
        return label
    table = {value: value for value in range(1 << description.outputs)}
    return _translate(_single_channel(masks[0]), table, description, masks[0])


def _read_index(description: DataDescription, masks: Sequence[Path]) -> Labels:
    raw = _single_channel(masks[0])
    if description.space == "binary":
        label = _above(raw, description.threshold).astype(np.uint8)
        label[np.isin(raw, description.ignore)] = IGNORED
        return label
    first = int(description.reserve_zero)
    table = {value: value + first for value in range(len(description.classes))}
    return _translate(raw, table, description, masks[0])


def _read_palette(description: DataDescription, masks: Sequence[Path]) -> Labels:
    palette = description.palette or {}
    first = 1 if description.space == "binary" else int(description.reserve_zero)
    table = {_code(palette[name]): first + index for index, name in enumerate(description.classes)}
    if description.space == "binary":
        # The class may itself be black, where everything else is ignored, say.
        table.setdefault(_code(palette.get(BACKGROUND, (0, 0, 0))), 0)
    table |= {_code(colour): IGNORED for colour in description.ignore if isinstance(colour, tuple)}

    pixels = read_image(masks[0], "rgb").astype(np.uint32)
    codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    known = np.array(sorted(table), dtype=np.uint32)
    position = np.minimum(np.searchsorted(known, codes), known.size - 1)
    wrong = known[position] != codes
    if wrong.any():
        unknown = {
            str([int(code) >> 16, int(code) >> 8 & 255, int(code) & 255]): int(count)
            for code, count in zip(*np.unique(codes[wrong], return_counts=True), strict=True)
        }
        raise WrongLabelError(
            f"{masks[0]}: the palette lacks {_counted('colour', unknown)}: add it to the palette "
            "or to ignore (JPEG masks cannot be read by colour: save masks as PNG)"
        )
    return np.array([table[int(code)] for code in known], dtype=np.uint8)[position]


def _read_files(description: DataDescription, masks: Sequence[Path]) -> Labels:
    raws = [_single_channel(mask) for mask in masks]
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


def _single_channel(path: Path) -> NDArray[Any]:
    """Read ``(H, W)`` integers or booleans; extra channels may only repeat them, or be alpha."""
    raw = read_raw(path)
    if raw.dtype.kind not in "bui":
        raise WrongLabelError(f"{path}: holds fractional numbers: save the mask as 8-bit PNG")
    if raw.ndim == 2:
        return raw
    colours = raw if raw.shape[-1] == 3 else raw[..., :-1]
    if (colours != colours[..., :1]).any():
        raise WrongLabelError(
            f"{path}: is a colour image: describe its colours with `encoding: palette`"
        )
    return colours[..., 0]


def _above(raw: NDArray[Any], threshold: int) -> NDArray[np.bool_]:
    # A 1-bit file holds true and false, whatever the threshold of its 8-bit neighbours.
    return raw if raw.dtype == np.bool_ else raw > threshold


def _translate(
    raw: NDArray[Any], table: Mapping[int, int], description: DataDescription, path: Path
) -> Labels:
    """Look raw values up in ``table``; the description's ignored ones become 255."""
    table = {**table, **{value: IGNORED for value in description.ignore if isinstance(value, int)}}
    lookup = np.full(max(256, *(value + 1 for value in table)), -1, dtype=np.int16)
    lookup[list(table)] = list(table.values())
    if raw.dtype.itemsize == 1:
        label = lookup[raw.astype(np.uint8)]
    else:
        inside = (raw >= 0) & (raw < lookup.size)
        label = np.where(inside, lookup[np.where(inside, raw, 0)], np.int16(-1))
    wrong = label < 0
    if wrong.any():
        values, counts = np.unique(raw[wrong], return_counts=True)
        unknown = {str(value): int(count) for value, count in zip(values, counts, strict=True)}
        highest = max(value for value, byte in table.items() if byte != IGNORED)
        raise WrongLabelError(
            f"{path}: holds {_counted('value', unknown)}, but the labels are 0 to {highest}: "
            "correct the mask, or the classes or `ignore` of the description"
        )
    return label.astype(np.uint8)


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
