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
    "labelled": "labelled",
    "train": "training",
    "val": "validation",
    "test": "test",
}
"""What the parts of a data set are called in sentences."""
LEARNED_FROM = ("labelled", "train")

#: Above this share of ignored pixels hardly anything is learned or scored.
MOST_IGNORED = 0.95
#: So many values of a mask of one class are shades of grey rather than names of things.
MANY_VALUES = 32
#: Images whose brightest value is below this (of 255) look black.
DARK = 32
#: Shares of all pixels, and of those at borders, above which a class may be the background.
INVERTED = (0.5, 0.9)
#: Names or values in one sentence.
MOST_SHOWN = 6
_WHERE = "{where}"
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
    found: dict[tuple[str, str], list[str]] = {}
    for part, counts in parts.items():
        if counts.any():
            for kind, sentence in _part_doubts(counts, classes, multilabel, ignored, unexpected):
                found.setdefault((kind, sentence), []).append(part)
    return [
        Doubt(
            kind,
            sentence.replace(_WHERE, named_parts(where)),
            grave=kind == "all ignored" or any(part in LEARNED_FROM for part in where),
        )
        for (kind, sentence), where in found.items()
    ]


def named_parts(parts: Sequence[str]) -> str:
    """Return what some parts are called: ``the labelled and test images``."""
    *first, last = (PARTS.get(part, part) for part in parts)
    return f"the {', '.join(first)}{' and ' if first else ''}{last} images"


def _part_doubts(
    counts: Counts,
    classes: Sequence[str],
    multilabel: bool,
    ignored: int,
    unexpected: Collection[str],
) -> Iterator[tuple[str, str]]:
    """Give kinds and sentences about one part, which is not named yet."""
    hidden = 0 if multilabel else int(counts[ignored])
    share, valid = hidden / int(counts.sum()), int(counts.sum()) - hidden
    if not valid:
        yield "all ignored", f"all pixels of {_WHERE} are ignored{_LOOK}"
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
    if full and not multilabel:
        yield (
            "one class",
            f"all pixels of {_WHERE} are {full[0]}, none is {_named(absent)}{but}{_LOOK}",
        )
        return
    if full:
        yield "full class", f"all pixels of {_WHERE} are {_named(full)}{_LOOK}"
    if absent:
        yield "absent class", f"no pixel of {_WHERE} is {_named(absent)}{but}"
    if share > MOST_IGNORED:
        yield "mostly ignored", f"{share:.1%} of the pixels of {_WHERE} are ignored"


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
            f"masks hold the values {_first(above)}, which all count as {name}: if some"
            " of them stand for something else, describe them as classes"
        )
        return [Doubt("several values", sentence, grave=False)]
    sentence = (
        f"masks hold {pixels - counts[top]} pixels of values between 0 and {top}, such as grey "
        f"borders, which all count as {name}: give `threshold: {top // 2}`, or save masks without "
        "them"
    )
    return [Doubt("between levels", sentence)]


def inversion_doubts(counts: Counts, border: Counts, light: int, name: str) -> list[Doubt]:
    """Return whether binary masks may show the background instead of the class.

    Args:
        counts: Of the label bytes of all masks.
        border: Of those at the borders of images.
        light: Number of masks whose palette shows value 0 lighter than the class.
        name: Of the class.
    """
    if light:
        sentence = (
            f"{light} mask{'s have' if light > 1 else ' has'} a palette that shows value 0 lighter "
            f"than {name}: masks are read by number, so what looks white is background; if it is "
            f"{name}, save masks without palette, or describe the colours with `encoding: palette`"
        )
        return [Doubt("inverted", sentence)]
    share, at_border = (one[1] / max(1, one[0] + one[1]) for one in (counts, border))
    if not counts[0] or share <= INVERTED[0] or at_border <= INVERTED[1]:
        return []
    sentence = (
        f"{share:.1%} of all pixels and {at_border:.1%} of those at the borders of images are "
        f"{name}: masks may be inverted"
    )
    return [Doubt("inverted", sentence, grave=False)]


def brightness_doubts(
    lowest: Sequence[int], highest: Sequence[int], names: Sequence[str]
) -> list[Doubt]:
    """Return what is doubtful about the brightness of images.

    Args:
        lowest: The smallest value of each image, 0..255.
        highest: The largest value of each.
        names: What each is called.
    """
    flat = [n for n, low, high in zip(names, lowest, highest, strict=True) if low == high]
    if flat:
        every = len(flat) == len(names)
        which = "all images hold" if every else f"{len(flat)} of {len(names)} images hold"
        black = ", all of them black" if every and max(highest) == 0 else f" ({_named(flat)})"
        sentence = f"{which} one value only{black}: look at them, and at how their format is read"
        return [Doubt("one value", sentence, grave=2 * len(flat) > len(names))]
    if highest and max(highest) < DARK:
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
