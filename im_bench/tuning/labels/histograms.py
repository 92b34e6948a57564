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
        self._shape = (3, space.groups, space.outputs if space.kind == "multiclass" else 2)
        self._classes = slice(0 if space.kind == "multiclass" else 1, None)
        self._levels = levels.count
        of_level = level.int() - levels.lowest
        predicted, true = (
            space.categories(each).int().view(-1, space.groups, *labels.shape[1:]).movedim(1, 0)
            * levels.count
            + of_level
            for each in (labels, truth)
        )
        # Where each pixel is counted: cells of all tables, one after another. Cell 0 is for none,
        # which is faster than taking the kept pixels out.
        both, right = predicted == true, labels == truth
        table, tables = self._shape[2] * self._levels, 3 * space.groups
        cells = torch.cat([predicted, predicted, true, of_level[None]])
        starts = torch.arange(tables + 1, dtype=torch.int32, device=cells.device) * table + 1
        cells += starts.view(-1, 1, 1, 1)
        cells[: space.groups].masked_fill_(~both, 0)
        cells[-1].masked_fill_(~right, 0)
        self._cells, self._length = cells, tables * table + self._levels + 1

    def count(self, kept: Tensor) -> Tensor:
        """Count the kept pixels, bool (B, H, W), which have a true label.

        Returns:
            int64 (3 C + 2, levels): for each of the C classes the pixels that are predicted and
            true, those predicted and those true (binary and multi-label: of the foreground of each
            channel), as three blocks of rows; then the right pixels, and all.
        """
        cells = torch.where(kept, self._cells, 0).flatten()
        counts = torch.bincount(cells, minlength=self._length)[1:]
        tables = counts[: -self._levels].view(*self._shape, self._levels)
        classes = tables[:, :, self._classes].flatten(0, 2)
        return torch.cat([classes, counts[None, -self._levels :], tables[1, :1].sum(1)])


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
