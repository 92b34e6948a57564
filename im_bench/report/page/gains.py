"""What Inconsistency Masks add: each method with them, minus the same without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

from im_bench.methods.online import MASKED
from im_bench.report.page.charts import DotChart, Value, dot_chart
from im_bench.report.page.styles import MethodStyle
from im_bench.report.tables.entries import Column, ResultsTable
from im_bench.report.tables.texts import number

RESAMPLES = 2000
#: From fewer seeds an interval would say more than anybody knows.
SEEDS_NEEDED = 3


@dataclass(frozen=True)
class Gain:
    """A gain on one data set, in the units of the page; positive is better.

    Attributes:
        mean: Over the seeds that both have.
        low: Lower end of the 95 % interval, None for fewer than ``SEEDS_NEEDED`` seeds.
        high: Upper end.
        n: Number of seeds.
        unit: Of the numbers.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    unit: str

    @property
    def text(self) -> str:
        """Return ``+1.2 [+0.4, +2.1]``."""
        mean = number(self.mean, self.unit, sign=True)
        if self.low is None or self.high is None:
            return mean
        ends = (number(end, self.unit, sign=True) for end in (self.low, self.high))
        return f"{mean} [{', '.join(ends)}]"


Found = Mapping[tuple[str, str], tuple[Gain | None, ...]]


@dataclass(frozen=True)
class Gains:
    """All gains of a suite.

    Attributes:
        columns: The data sets.
        pairs: (title of the one with masks, title of the one without, gain or None per data set).
        charts: One for each data set.
        seeds: The largest number of seeds of a gain.
    """

    columns: tuple[Column, ...]
    pairs: tuple[tuple[str, str, tuple[Gain | None, ...]], ...]
    charts: tuple[DotChart, ...]
    seeds: int


def masked_pairs(table: ResultsTable) -> list[tuple[str, str]]:
    """Return the methods that differ in their masks only: (with, without).

    These are ``METHOD+im`` and ``METHOD``, and ``im`` and ``me``, which share their protocol.
    """
    own = {row.method: row.base for row in table.rows if not row.origin}
    pairs = [(method, base) for method, base in own.items() if base in own]
    if {"im", "me"} <= set(own):
        pairs.append(("im", "me"))
    return pairs


def gains(table: ResultsTable, styles: Mapping[str, MethodStyle]) -> Gains | None:
    """Return what masks add, or None where no pair of methods tells it.

    Args:
        table: The scores.
        styles: Of the methods that charts show.
    """
    pairs = masked_pairs(table)
    titles = {row.method: row.title for row in table.rows}
    found = {pair: tuple(_gain(table, column, *pair) for column in table.columns) for pair in pairs}
    known = [gain for row in found.values() for gain in row if gain]
    if not known:
        return None
    return Gains(
        table.columns,
        tuple((titles[masked], titles[base], found[masked, base]) for masked, base in pairs),
        tuple(_charts(table, {pair: row for pair, row in found.items() if pair[0] in styles})),
        max(gain.n for gain in known),
    )


def _gain(table: ResultsTable, column: Column, masked: str, base: str) -> Gain | None:
    ours, theirs = (table.entries.get((method, column.data)) for method in (masked, base))
    if ours is None or theirs is None:
        return None
    sign = 1 if column.higher else -1
    both = [seed for seed in ours.scores if seed in theirs.scores]
    differences = np.array([sign * (ours.scores[s] - theirs.scores[s]) for s in both])
    if not len(differences) or not np.isfinite(differences).all():
        return None
    low = high = None
    if len(differences) >= SEEDS_NEEDED:
        low, high = _interval(differences)
    return Gain(float(differences.mean()), low, high, len(differences), column.unit)


def _interval(differences: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean; the same numbers give the same one."""
    if np.ptp(differences) == 0:
        return float(differences[0]), float(differences[0])
    interval = bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _charts(table: ResultsTable, found: Found) -> Iterator[DotChart]:
    """Return a chart for each data set, or for a single pair one for each unit."""
    if len(found) == 1:
        ((pair, row),) = found.items()
        for unit in dict.fromkeys(column.unit for column in table.columns):
            of_unit = [
                (column.name, gain)
                for column, gain in zip(table.columns, row, strict=True)
                if gain and column.unit == unit
            ]
            if of_unit:
                yield _chart(_name(*pair), unit, of_unit)
        return
    for at, column in enumerate(table.columns):
        of_data = [(_name(*pair), gain) for pair, row in found.items() if (gain := row[at])]
        if of_data:
            yield _chart(column.name, column.unit, of_data)


def _name(masked: str, base: str) -> str:
    return masked if masked.endswith(MASKED) else f"{masked} − {base}"


def _chart(title: str, unit: str, named: Sequence[tuple[str, Gain]]) -> DotChart:
    factor = 100 if unit == "%" else 1
    values = [
        Value(
            name,
            gain.text,
            "ink d0",
            factor * gain.mean,
            None if gain.low is None else factor * gain.low,
            None if gain.high is None else factor * gain.high,
        )
        for name, gain in named
    ]
    what = "percentage points" if unit == "%" else "fewer cells miscounted"
    return dot_chart(title, f"gain, {what}", values, zero=True)
