"""Pixels counted by class and by confidence, so that any threshold is a look-up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from im_bench.data.label_spaces import LabelSpace

_ONE = 0x3C00
"""The bits of 1.0 as float16. As whole numbers, those of lesser confidences are lesser."""


def level_of(confidence: Tensor) -> Tensor:
    """Return confidences, in 0..1, rounded to float16, as the whole numbers of its bits."""
    return confidence.half().view(torch.int16)


class Levels:
    """The confidences that can occur, from the lowest that does to 1.

    Args:
        level: As of :func:`level_of`; all of them.

    Attributes:
        lowest: The level of the lowest.
        end: One more than the level of 1.
        count: How many there are.
    """

    end = _ONE + 1

    def __init__(self, level: Tensor) -> None:
        self.lowest = int(level.min())
        self.count = self.end - self.lowest
        bits = np.arange(self.lowest, self.end, dtype=np.int16)
        self._confidence = bits.view(np.float16).astype(np.float64)

    def positions(self, thresholds: Sequence[float]) -> NDArray[np.int64]:
        """Return for each threshold how many levels lie below it."""
        return self._confidence.searchsorted(thresholds).astype(np.int64)


class Pixels:
    """The pixels of B images under one labelling.

    Args:
        space: What labels mean.
        levels: The confidences that can occur.
        level: Of each pixel, int16 (B, H, W).
        labels: Pseudo-labels, label bytes (B, H, W).
        truth: True label bytes (B, H, W).
    """

    def __init__(
        self, space: LabelSpace, levels: Levels, level: Tensor, labels: Tensor, truth: Tensor
    ) -> None:
        self._levels = levels
        self._categories = space.outputs if space.kind == "multiclass" else 2
        self._classes = slice(0 if space.kind == "multiclass" else 1, None)
        self._level = level.int() - levels.lowest
        self._right = labels == truth
        # A pixel's cell in a table (category, level), for each of G softmaxes: int32 (G, B, H, W).
        self._predicted, self._true = (
            space.categories(each).int().view(-1, space.groups, *labels.shape[1:]).movedim(1, 0)
            * levels.count
            + self._level
            for each in (labels, truth)
        )

    def count(self, kept: Tensor) -> Tensor:
        """Count the kept pixels, bool (B, H, W), which have a true label.

        Returns:
            int64 (3 C + 2, levels): for each of the C classes the pixels that are predicted and
            true, those predicted and those true (binary and multi-label: of the foreground of each
            channel), as three blocks of rows; then the right pixels, and all.
        """
        both, predicted, true = [], [], []
        for of_predicted, of_true in zip(self._predicted, self._true, strict=True):
            said, is_so = of_predicted[kept], of_true[kept]
            both.append(self._table(said[said == is_so]))
            predicted.append(self._table(said))
            true.append(self._table(is_so))
        level = self._level[kept]
        right = level[self._right[kept]]
        totals = [
            torch.bincount(each, minlength=self._levels.count)[None] for each in (right, level)
        ]
        return torch.cat([*both, *predicted, *true, *totals])

    def _table(self, cells: Tensor) -> Tensor:
        """Return how many pixels each class has at each level."""
        shape = (self._categories, self._levels.count)
        return torch.bincount(cells, minlength=shape[0] * shape[1]).view(shape)[self._classes]


class Sums:
    """Counts of the pixels whose confidence is at least a threshold, for any threshold.

    Args:
        counts: As of :meth:`Pixels.count`, of all images.
    """

    def __init__(self, counts: Tensor) -> None:
        sums = counts.flip(1).cumsum(1).flip(1).cpu().numpy()
        self._sums = np.pad(sums, ((0, 0), (0, 1)))  # no pixel is surer than sure

    def at(self, position: int) -> NDArray[np.int64]:
        """Return the counts, (3 C + 2,), without the pixels of so many of the lowest levels."""
        sums: NDArray[np.int64] = self._sums[:, position]
        return sums
