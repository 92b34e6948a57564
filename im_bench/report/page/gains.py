"""What Inconsistency Masks add: each method with them, minus the same without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

from im_bench.methods.online import MASKED
from im_bench.report.entries import Column, ResultsTable
from im_bench.report.page.charts import DotChart, Value, dot_chart
from im_bench.report.rendering import number
from im_bench.suites.plan import Plan

RESAMPLES = 2000
#: Pairs in one chart.
MOST = 24


@dataclass(frozen=True)
class Gain:
    """A gain on one data set, in the units of the page; positive is better.

    Attributes:
        mean: Over the seeds that both have.
        low: Lower end of the 95 % interval, None for fewer than two seeds.
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


def masked_pairs(plan: Plan) -> list[tuple[str, str]]:
    """Return the methods that differ in their masks only: (with, without).

    These are ``METHOD+im`` and ``METHOD``, and ``im`` and ``me``, which share their protocol.
    """
    names = list(dict.fromkeys(cell.method for cell in plan.cells))
    pairs = [
        (name, base)
        for name in names
        if name.endswith(MASKED) and (base := name.removesuffix(MASKED)) in names
    ]
    if {"im", "me"} <= set(names):
        pairs.append(("im", "me"))
    return pairs


def gains(plan: Plan, table: ResultsTable) -> Gains | None:
    """Return what masks add, or None where no pair of methods tells it."""
    pairs = masked_pairs(plan)
    titles = {row.method: row.title for row in table.rows}
    found = {pair: tuple(_gain(table, column, *pair) for column in table.columns) for pair in pairs}
    known = [gain for row in found.values() for gain in row if gain]
    if not known:
        return None
    return Gains(
        table.columns,
        tuple((titles[masked], titles[base], found[masked, base]) for masked, base in pairs),
        tuple(_charts(table, found)),
        max(gain.n for gain in known),
    )


def _gain(table: ResultsTable, column: Column, masked: str, base: str) -> Gain | None:
    ours, theirs = (table.entries.get((method, column.data)) for method in (masked, base))
    if ours is None or theirs is None:
        return None
    sign = 1 if column.higher else -1
    both = [seed for seed in ours.scores if seed in theirs.scores]
    differences = np.array([sign * (ours.scores[s] - theirs.scores[s]) for s in both])
    if not len(differences):
        return None
    low = high = None
    if len(differences) > 1:
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


def _charts(
    table: ResultsTable, found: dict[tuple[str, str], tuple[Gain | None, ...]]
) -> Iterator[DotChart]:
    for at, column in enumerate(table.columns):
        factor = 100 if column.unit == "%" else 1
        values = [
            Value(
                f"{masked} − {base}" if masked == "im" else masked,
                gain.text,
                "ink d0",
                factor * gain.mean,
                None if gain.low is None else factor * gain.low,
                None if gain.high is None else factor * gain.high,
            )
            for (masked, base), row in found.items()
            if (gain := row[at])
        ]
        if values:
            unit = "percentage points" if column.unit == "%" else "fewer cells miscounted"
            left = f" The first {MOST} of {len(values)}." if len(values) > MOST else ""
            yield dot_chart(column.data, f"gain, {unit}", values[:MOST], zero=True, note=left)
