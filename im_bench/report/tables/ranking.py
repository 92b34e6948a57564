"""What entries are to each other: best and second best, gains over a base, mean ranks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isfinite
from statistics import fmean

from im_bench.report.tables.entries import Column, Entry, Row

Entries = Mapping[tuple[str, str], Entry]


def marked(entries: Entries, rows: Iterable[Row], columns: Iterable[Column]) -> Entries:
    """Return the entries with ranks 1 and 2, and gains over their bases.

    Only complete entries have either. Rows that stand apart are not ranked.
    """
    rows = list(rows)
    found = dict(entries)
    for column in columns:
        for key, rank in _best_two(found, rows, column).items():
            found[key] = replace(found[key], rank=rank)
        for row in rows:
            gain = _gain(
                entries.get((row.method, column.data)), entries.get((row.base, column.data))
            )
            if gain is not None:
                key = (row.method, column.data)
                found[key] = replace(found[key], gain=gain)
    return found


def with_mean_ranks(
    rows: Iterable[Row], columns: Iterable[Column], entries: Entries
) -> tuple[Row, ...]:
    """Return the rows with the mean of their ranks over all columns.

    Rows are ranked among those whose entries are complete in every column, so that a hole moves
    nobody; equal ones share the mean of their places. One row or column makes no mean.
    """
    rows, columns = list(rows), list(columns)
    whole: dict[str, list[float]] = {}
    for row in rows:
        values = [_printed(entries.get((row.method, c.data)), c) for c in columns]
        known = [value for value in values if value is not None]
        if not row.section and len(known) == len(columns):
            whole[row.method] = [-v if c.higher else v for v, c in zip(known, columns, strict=True)]
    if len(whole) < 2 or len(columns) < 2:
        return tuple(rows)
    means = {
        method: fmean(map(_place, values, zip(*whole.values(), strict=True)))
        for method, values in whole.items()
    }
    return tuple(replace(row, mean_rank=means.get(row.method)) for row in rows)


def _place(value: float, among: Iterable[float]) -> float:
    """Return a value's place, from 1 for the least; equal ones share the mean of their places."""
    among = list(among)
    return sum(one < value for one in among) + (among.count(value) + 1) / 2


def _best_two(entries: Entries, rows: Iterable[Row], column: Column) -> dict[tuple[str, str], int]:
    """Return 1 and 2 by entry; equal ones, as printed, share a mark."""
    printed = {
        (row.method, column.data): value
        for row in rows
        if not row.section
        and (value := _printed(entries.get((row.method, column.data)), column)) is not None
    }
    if len(printed) < 2:
        return {}
    best = sorted(set(printed.values()), reverse=bool(column.higher))[:2]
    return {key: best.index(value) + 1 for key, value in printed.items() if value in best}


def _printed(entry: Entry | None, column: Column) -> float | None:
    """Return a complete entry's mean as printed, or None."""
    if entry is None or not entry.complete or entry.mean is None or not isfinite(entry.mean):
        return None
    return round(entry.mean * (100 if column.unit == "%" else 1), 1)


def _gain(entry: Entry | None, base: Entry | None) -> float | None:
    if entry is None or base is None or not entry.complete or not base.complete:
        return None
    if entry.mean is None or base.mean is None:
        return None
    return entry.mean - base.mean
