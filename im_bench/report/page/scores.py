"""The results at a glance, and class by class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from statistics import fmean

from im_bench.evaluation.registry import class_of
from im_bench.report.page.charts import Chart, Value, dot_chart
from im_bench.report.page.stages import Stages
from im_bench.report.page.styles import MethodStyle
from im_bench.report.tables.entries import Column, Entry, ResultsTable
from im_bench.report.tables.texts import heading, measured, number, reported

#: Shades of a table of classes.
SHADES = 8


def score_charts(
    table: ResultsTable, styles: Mapping[str, MethodStyle]
) -> tuple[tuple[Chart, ...], bool]:
    """Return, for each data set, the methods' scores, and whether reported numbers are shown."""
    charts = []
    references = False
    for column in table.columns:
        values = [
            value
            for method, style in styles.items()
            if (entry := table.entries.get((method, column.data)))
            and (value := _value(entry, column, style))
        ]
        references = references or any(value.reference is not None for value in values)
        if values:
            charts.append(dot_chart(column.name, heading(column), values))
    return tuple(charts), references


def _value(entry: Entry, column: Column, style: MethodStyle) -> Value | None:
    if entry.mean is None or not isfinite(entry.mean):
        return None
    factor = 100 if column.unit == "%" else 1
    mean, spread = factor * entry.mean, factor * (entry.std or 0.0)
    text = measured(entry, column.unit)
    if entry.reported is not None:
        text += f", reported {reported(entry, column.unit)}"
    return Value(
        style.method,
        text,
        style.look,
        mean,
        mean - spread if spread else None,
        mean + spread if spread else None,
        None if entry.reported is None else factor * entry.reported,
        faint=not entry.complete,
    )


@dataclass(frozen=True)
class ClassCell:
    """The score of a class: text, share for sorting, and shade 0..SHADES - 1."""

    text: str
    value: float
    shade: int


@dataclass(frozen=True)
class ClassTable:
    """Methods by classes on one data set.

    Attributes:
        data: The data set.
        classes: Names of the classes.
        rows: Method titles with a cell, or None, per class.
    """

    data: str
    classes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[ClassCell | None, ...]], ...]


def class_tables(
    stages: Stages, table: ResultsTable, styles: Mapping[str, MethodStyle]
) -> tuple[ClassTable, ...]:
    """Return the test IoU of each class, as a mean over seeds, where results have it."""
    found = []
    for column in table.columns:
        scores: dict[str, dict[str, list[float]]] = {}
        for cell in stages.plan.cells:
            if cell.data != column.data or cell.method not in styles:
                continue
            for seed in cell.finals:
                test = stages.outcome(stages.final(cell, seed)).get("test", {})
                for name, value in test.items():
                    if (label := class_of(name)) is not None:
                        of_method = scores.setdefault(cell.method, {})
                        of_method.setdefault(label, []).append(value)
        classes = tuple(dict.fromkeys(name for values in scores.values() for name in values))
        if classes:
            rows = tuple(
                (
                    styles[method].title,
                    tuple(_class_cell(scores[method].get(name)) for name in classes),
                )
                for method in styles
                if method in scores
            )
            found.append(ClassTable(column.name, classes, rows))
    return tuple(found)


def _class_cell(values: list[float] | None) -> ClassCell | None:
    if not values:
        return None
    mean = fmean(values)
    shade = max(0, min(SHADES - 1, int(mean * SHADES)))
    return ClassCell(number(mean, "%"), mean, shade)
