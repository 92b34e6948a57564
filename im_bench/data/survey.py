"""What the images and masks of a data set hold, gathered while they are read anyway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from im_bench.data.description import BACKGROUND, IGNORED, VOID, DataDescription
from im_bench.data.doubts import Doubt
from im_bench.data.encodings import Labels
from im_bench.data.image_files import Pixels, inspect
from im_bench.data.image_headers import opened
from im_bench.data.listing import Item
from im_bench.data.plausibility import (
    PARTS,
    Counts,
    brightness_doubts,
    count_values,
    inversion_doubts,
    label_doubts,
    mask_value_doubts,
    named_parts,
)
from im_bench.data.splits import listed


@dataclass(frozen=True)
class Facts:
    """What one image and its mask hold.

    Attributes:
        lowest: The smallest value of the image.
        highest: The largest one.
        labels: Number of pixels of each label byte, or None without a mask.
        border: The same of the pixels at the image's border.
        values: Number of pixels of each value that the file of the mask holds, where it should be
            one of two.
        light_zero: Whether the mask's palette shows value 0 lighter than all others.
        turned: Whether the image has an orientation tag and its mask has none.
    """

    lowest: int
    highest: int
    labels: Counts | None = None
    border: Counts | None = None
    values: Mapping[int, int] | None = None
    light_zero: bool = False
    turned: bool = False


class Survey:
    """What was found in a data set so far.

    Args:
        description: What the data set is.
    """

    def __init__(self, description: DataDescription) -> None:
        self._description = description
        self._binary = description.space == "binary"
        self.labels = {part: np.zeros(256, np.int64) for part in PARTS}
        self._border = np.zeros(256, np.int64)
        self._values = Counter[int]()
        self._empty: dict[str, list[str]] = {part: [] for part in PARTS}
        self._images = Counter[str]()
        self._brightness: dict[str, tuple[int, int]] = {}
        self._light_zero: list[str] = []
        self._turned: list[str] = []

    def look(
        self,
        item: Item,
        image: NDArray[np.uint8],
        label: Labels | None,
        stored: Sequence[Pixels] = (),
    ) -> Facts:
        """Return what an item holds; may be called by several threads at a time.

        Args:
            item: Whose masks have been read without complaint.
            image: As read, (H, W, C).
            label: Its label bytes, (H, W); without meaning where there is no mask.
            stored: The numbers of its masks, (H, W).
        """
        lowest, highest = int(image.min()), int(image.max())
        if label is None or not item.masks:
            return Facts(lowest, highest)
        edges = np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]])
        turned = inspect(item.image).orientation > 1 and inspect(item.masks[0]).orientation == 1
        facts = Facts(lowest, highest, count_values(label), count_values(edges), turned=turned)
        by_value = self._binary and self._description.encoding == "index"
        if not (by_value or self._description.encoding == "files") or self._description.threshold:
            return facts
        values = Counter[int]()
        for raw in stored:
            if raw.dtype != np.bool_:  # Two values, whatever the threshold.
                values.update(_count_numbers(raw))
        for value in self._description.ignore:
            if isinstance(value, int):
                values.pop(value, None)
        light = by_value and _shows_zero_light(item, values)
        return replace(facts, values=values, light_zero=light)

    def add(self, part: str | None, name: str, facts: Facts) -> None:
        """Add an item.

        Args:
            part: Of :data:`PARTS`, or None where its labels are not used.
            name: What the item is called.
            facts: Of the item.
        """
        self._brightness[name] = facts.lowest, facts.highest
        if part is None or facts.labels is None or facts.border is None:
            return
        self.labels[part] += facts.labels
        self._border += facts.border
        self._images[part] += 1
        self._values.update(facts.values or {})
        if self._description.space != "multilabel" and facts.labels[IGNORED] == facts.labels.sum():
            self._empty[part].append(name)
        if facts.light_zero:
            self._light_zero.append(name)
        if facts.turned:
            self._turned.append(name)

    def doubts(self) -> list[Doubt]:
        """Return what of all that is hardly meant."""
        description = self._description
        names = description.class_names
        doubts = label_doubts(
            self.labels,
            (BACKGROUND, *names) if self._binary else names,
            multilabel=description.space == "multilabel",
            ignored=IGNORED,
            unexpected=[VOID] if description.reserve_zero else [],
        )
        doubts += [
            Doubt(
                "ignored image",
                f"{len(empty)} of {named_parts([part])} have ignored pixels only ({listed(empty)})",
                grave=part in ("labelled", "train"),
            )
            for part, empty in self._empty.items()
            if empty and len(empty) < self._images[part]
        ]
        if description.encoding in ("index", "files"):
            shown = names[0] if len(names) == 1 else "the class"
            doubts += mask_value_doubts(self._values, description.threshold, shown)
        if self._binary:
            everywhere = sum(self.labels.values(), np.zeros(256, np.int64))
            doubts += inversion_doubts(everywhere, self._border, len(self._light_zero), names[0])
        if self._turned and description.orientation == "apply":
            several = len(self._turned) > 1
            doubts.append(
                Doubt(
                    "orientation",
                    f"{len(self._turned)} image{'s have' if several else ' has'} an orientation "
                    f"tag and {'their masks have' if several else 'its mask has'} none "
                    f"({listed(self._turned)}): images are turned upright; where masks show the "
                    "pixels as they are stored, write `orientation: ignore`",
                    grave=False,
                )
            )
        lowest, highest = (
            zip(*self._brightness.values(), strict=True) if self._brightness else ((), ())
        )
        return doubts + brightness_doubts(lowest, highest, list(self._brightness))


def _count_numbers(raw: Pixels) -> dict[int, int]:
    """Return the number of pixels of each number; quickly where there are two."""
    top = raw.max()
    above, highest = int(np.count_nonzero(raw)), int(np.count_nonzero(raw == top))
    if above == highest:
        return {0: raw.size - above, int(top): above} if above else {0: raw.size}
    found = zip(*np.unique(raw, return_counts=True), strict=True)
    return {int(value): int(count) for value, count in found}


def _shows_zero_light(item: Item, values: Mapping[int, int]) -> bool:
    """Return whether a palette shows background lighter than what counts as foreground."""
    with opened(item.masks[0]) as image:
        palette = image.getpalette("RGB") if image.mode == "P" else None
    above = [value for value in values if value and 3 * value + 2 < len(palette or ())]
    if palette is None or not above:
        return False
    light = [sum(palette[3 * value : 3 * value + 3]) for value in (0, *above)]
    return light[0] > max(light[1:])
