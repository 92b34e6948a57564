"""Whether labels and pixel values are plausible: what no error is, but hardly meant.

Pure functions of counts, for whoever has them: `im-bench data check`, the ``data`` stage, and
trainings on other people's data sets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from im_bench.data.doubts import Doubt

Counts = NDArray[np.int64]
"""The number of pixels of each value, 256 numbers."""

IGNORED = 255
PARTS = {
    "labelled": "the labelled images",
    "train": "the training images",
    "val": "the validation images",
    "test": "the test images",
}
"""What the parts of a data set are called in sentences."""
LEARNED_FROM = ("labelled", "train")

#: Above this share of ignored pixels hardly anything is learned or scored.
MOST_IGNORED = 0.95
#: So many values of a mask of one class are shades of grey rather than names of things.
MANY_VALUES = 32
#: Images whose brightest value is below this (of 255) look black.
DARK = 32
#: Names or values in one sentence.
MOST_SHOWN = 6
_LOOK = ": look at the masks, and at how they are read"


def count_values(values: NDArray[np.uint8]) -> Counts:
    """Return how many pixels have each value 0..255, int64 (256,)."""
    counts: Counts = np.bincount(values.ravel(), minlength=256)
    return counts


def count_classes(counts: Counts, classes: int, multilabel: bool = False) -> Counts:
    """Return the number of pixels of each class, int64 (classes,).

    Args:
        counts: Of the label bytes.
        classes: The number of classes.
        multilabel: Whether bit c of a byte says that class c is there; else the byte is the class.
    """
    if not multilabel:
        return counts[:classes]
    bits = np.arange(256)[:, None] >> np.arange(classes) & 1
    return counts @ bits


def labels_of_no_class(counts: Counts, classes: int, ignored: int = IGNORED) -> dict[int, int]:
    """Return the label bytes that stand for no class, with their numbers of pixels.

    Args:
        counts: Of the label bytes; the byte is the class.
        classes: The number of classes.
        ignored: The byte of pixels that do not count.
    """
    return {
        int(value): int(counts[value])
        for value in np.flatnonzero(counts)
        if value >= classes and value != ignored
    }


def label_doubts(
    parts: Mapping[str, Counts],
    classes: Sequence[str],
    *,
    multilabel: bool = False,
    ignored: int = IGNORED,
    unexpected: Collection[str] = (),
) -> list[Doubt]:
    """Return what is doubtful about the labels of the parts of a data set.

    That is: a part of which all, or nearly all pixels are ignored; a part in which all pixels are
    of one class; a class that no pixel has. It is grave in what is learned from.

    Args:
        parts: Counts of the label bytes, by a name in :data:`PARTS`.
        classes: The name of each label byte from 0 (binary: that of the background, too), or of
            each bit.
        multilabel: Whether labels are bits.
        ignored: The byte of pixels that do not count (not with bits).
        unexpected: Classes that need not occur, such as one that is reserved.
    """
    return [
        doubt
        for part, counts in parts.items()
        if counts.any()
        for doubt in _part_doubts(part, counts, classes, multilabel, ignored, unexpected)
    ]


def _part_doubts(
    part: str,
    counts: Counts,
    classes: Sequence[str],
    multilabel: bool,
    ignored: int,
    unexpected: Collection[str],
) -> Iterator[Doubt]:
    where, grave = PARTS.get(part, part), part in LEARNED_FROM
    hidden = 0 if multilabel else int(counts[ignored])
    share, valid = hidden / int(counts.sum()), int(counts.sum()) - hidden
    if not valid:
        yield Doubt("all ignored", f"all pixels of {where} are ignored{_LOOK}")
        return
    found = {
        name: int(count)
        for value, (name, count) in enumerate(
            zip(classes, count_classes(counts, len(classes), multilabel), strict=True)
        )
        if name not in unexpected and (multilabel or value != ignored)
    }
    absent = [name for name, count in found.items() if not count]
    full = [name for name, count in found.items() if count == valid and len(found) > 1]
    but = f" ({share:.1%} are ignored)" if hidden else ""
    if full:
        none = f", none is {_named(absent)}" if absent else ""
        yield Doubt(
            "one class", f"all pixels of {where} are {_named(full)}{none}{but}{_LOOK}", grave
        )
    elif absent:
        yield Doubt("absent class", f"no pixel of {where} is {_named(absent)}{but}", grave)
    elif share > MOST_IGNORED:
        yield Doubt("mostly ignored", f"{share:.1%} of the pixels of {where} are ignored", grave)


def mask_value_doubts(counts: Mapping[int, int], threshold: int, name: str) -> list[Doubt]:
    """Return what is doubtful about the stored values of masks that show one class or nothing.

    Such masks have two values. More of them are grey borders as JPEG files and smooth resizing
    leave them, of which a threshold of 0 makes foreground, or stand for several things.

    Args:
        counts: Number of pixels of each stored value, without ignored ones.
        threshold: A value above it is the class.
        name: Of the class.
    """
    above = sorted(value for value, count in counts.items() if count and value > threshold)
    if threshold or len(above) <= 1:
        return []
    top, pixels = above[-1], sum(counts[value] for value in above)
    near_top = sum(counts[value] for value in above if value > 0.75 * top)
    numbered = above == list(range(1, top + 1)) and top < 255
    if numbered or (2 * near_top < pixels and len(above) < MANY_VALUES):
        sentence = (
            f"masks hold the values {_first(above)} besides 0, and all of them count as {name}: "
            "if some stand for something else, describe them as classes"
        )
        return [Doubt("several values", sentence, grave=False)]
    sentence = (
        f"masks hold {pixels - counts[top]} pixels of values between 0 and {top}, such as grey "
        f"borders, which all count as {name}: give `threshold: {top // 2}`, or save masks without "
        "them"
    )
    return [Doubt("between levels", sentence)]


def brightness_doubts(lowest: Sequence[int], highest: Sequence[int]) -> list[Doubt]:
    """Return what is doubtful about the brightness of images.

    Args:
        lowest: The smallest value of each image, 0..255.
        highest: The largest value of each.
    """
    flat = sum(low == high for low, high in zip(lowest, highest, strict=True))
    if not highest:
        return []
    if flat:
        which = "all" if flat == len(highest) else f"{flat} of {len(highest)}"
        black = " (all black)" if max(highest) == 0 else ""
        sentence = (
            f"{which} images hold one value only{black}: look at them, and at how their format is "
            "read"
        )
        return [Doubt("one value", sentence, grave=2 * flat > len(highest))]
    if max(highest) < DARK:
        sentence = (
            f"no image is brighter than {max(highest)} of 255: their format may be read in the "
            "wrong range"
        )
        return [Doubt("dark", sentence)]
    return []


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_SHOWN])
    rest = len(names) - MOST_SHOWN
    return shown if rest <= 0 else f"{shown} and {rest} more"


def _first(values: Sequence[int]) -> str:
    return _named([str(value) for value in values])
