"""What Inconsistency Masks add: each method with them, minus the same without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from im_bench.methods.names import MASKED
from im_bench.report.page.charts import Chart, Value, dot_chart
from im_bench.report.page.styles import MethodStyle
from im_bench.report.statistics.estimates import (
    Estimate,
    Scores,
    estimate,
    paired_differences,
    relative_differences,
    student_estimate,
    task_mean,
)
from im_bench.report.tables.entries import Column, ResultsTable
from im_bench.report.tables.texts import number


@dataclass(frozen=True)
class Gain:
    """A gain; positive is better.

    Attributes:
        estimate: The mean over pairs of seeds, with its 95 % interval if there is one.
        n: Number of pairs.
        unit: Of the numbers; shares are fractions.
    """

    estimate: Estimate
    n: int
    unit: str

    @property
    def text(self) -> str:
        """Return ``+1.2 [+0.4, +2.1]``."""
        mean = number(self.estimate.value, self.unit, sign=True)
        if self.estimate.interval is None:
            return mean
        ends = (number(end, self.unit, sign=True) for end in self.estimate.interval)
        return f"{mean} [{', '.join(ends)}]"


Found = Mapping[tuple[str, str], tuple[Gain | None, ...]]


@dataclass(frozen=True)
class Gains:
    """All gains of a suite.

    Attributes:
        columns: The data sets.
        pairs: (title of the one with masks, title of the one without, gain or None per data set,
            and over all of them).
        charts: One for each data set.
        seeds: The largest number of pairs of seeds of a data set.
    """

    columns: tuple[Column, ...]
    pairs: tuple[tuple[str, str, tuple[Gain | None, ...], Gain | None], ...]
    charts: tuple[Chart, ...]
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
        tuple(
            (titles[masked], titles[base], found[masked, base], _overall(table, masked, base))
            for masked, base in pairs
        ),
        tuple(_charts(table, {pair: row for pair, row in found.items() if pair[0] in styles})),
        max(gain.n for gain in known),
    )


def _paired(table: ResultsTable, column: Column, masked: str, base: str) -> tuple[Scores, Scores]:
    """Return the scores of the seeds that both have, the one with masks first."""
    ours, theirs = (table.entries.get((method, column.data)) for method in (masked, base))
    if ours is None or theirs is None:
        return np.empty(0), np.empty(0)
    both = [seed for seed in ours.scores if seed in theirs.scores]
    first, second = (np.array([entry.scores[s] for s in both]) for entry in (ours, theirs))
    known = np.isfinite(first - second)
    return first[known], second[known]


def _gain(table: ResultsTable, column: Column, masked: str, base: str) -> Gain | None:
    first, second = _paired(table, column, masked, base)
    if not len(first):
        return None
    differences = paired_differences(first, second, bool(column.higher))
    return Gain(student_estimate(differences), len(differences), column.unit)


def _overall(table: ResultsTable, masked: str, base: str) -> Gain | None:
    """Return the mean over the data sets, of differences relative to the scores."""
    tasks = [
        relative_differences(first, second, bool(column.higher))
        for column in table.columns
        for first, second in [_paired(table, column, masked, base)]
        if len(first)
    ]
    if not tasks:
        return None
    return Gain(estimate(task_mean, tasks), sum(map(len, tasks)), "%")


def _charts(table: ResultsTable, found: Found) -> Iterator[Chart]:
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


def _chart(title: str, unit: str, named: Sequence[tuple[str, Gain]]) -> Chart:
    factor = 100 if unit == "%" else 1
    values = []
    for name, gain in named:
        low, high = gain.estimate.interval or (None, None)
        values.append(
            Value(
                name,
                gain.text,
                "ink d0",
                factor * gain.estimate.value,
                None if low is None else factor * low,
                None if high is None else factor * high,
            )
        )
    what = {"%": "percentage points", "cells": "fewer cells miscounted"}.get(unit, unit)
    return dot_chart(title, f"gain, {what}" if what else "gain", values, zero=True)
