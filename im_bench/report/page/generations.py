"""From generation to generation: the test scores, and what the pseudo-labels are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from im_bench.report.page.charts import Chart, Series, line_chart
from im_bench.report.page.styles import MethodStyle
from im_bench.report.tables.entries import Column, GenerationRow, GenerationsTable
from im_bench.report.tables.texts import QUANTITIES, heading

MOST_ROWS = 1000


def generation_charts(
    table: GenerationsTable, styles: Mapping[str, MethodStyle], quantity: str
) -> tuple[Chart, ...]:
    """Return a chart for each data set.

    Args:
        table: The numbers.
        styles: Of the methods that are shown.
        quantity: ``test``, or a share such as ``pixels_kept``.
    """
    charts = []
    for column in dict.fromkeys(row.column for row in table.rows):
        series = [
            one
            for row in table.rows
            if row.column == column and row.quantity == quantity and row.method in styles
            if len((one := _series(row, column, styles[row.method].look)).points) > 1
        ]
        if series and not _all_kept(series, quantity):
            name = f"test {heading(column)}" if quantity == "test" else QUANTITIES[quantity]
            charts.append(line_chart(column.name, "generation", name, series, "whole"))
    return tuple(charts)


def _all_kept(series: Sequence[Series], quantity: str) -> bool:
    """Return whether a chart would say nothing but that everything is kept."""
    return quantity != "test" and all(y == 100 for one in series for _, y in one.points)


def _series(row: GenerationRow, column: Column, look: str) -> Series:
    factor = 100 if row.quantity != "test" or column.unit == "%" else 1
    points, band = [], []
    for g, entry in enumerate(row.entries, 1):
        if entry.mean is None:
            continue
        points.append((float(g), factor * entry.mean))
        spread = factor * (entry.std or 0.0)
        band.append((float(g), factor * entry.mean - spread, factor * entry.mean + spread))
    spreads = any(entry.std is not None for entry in row.entries)
    return Series(row.method, look, points, band if spreads else (), dots=True)


def shown_rows(table: GenerationsTable, styles: Mapping[str, MethodStyle]) -> GenerationsTable:
    """Return the table; of thousands of rows those of the methods that charts show."""
    if len(table.rows) <= MOST_ROWS:
        return table
    return replace(table, rows=tuple(row for row in table.rows if row.method in styles))
