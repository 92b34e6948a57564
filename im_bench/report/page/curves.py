"""Learning curves: of the trainings that stand in the table, over the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from im_bench.planning.plan import Cell
from im_bench.report.page.charts import Chart, Series, line_chart
from im_bench.report.page.frame import Axis
from im_bench.report.page.stages import Stages
from im_bench.report.page.styles import MethodStyle
from im_bench.report.tables.entries import Column, ResultsTable
from im_bench.report.tables.texts import heading
from im_bench.suites.graph import Stage, generation_role
from im_bench.training.scalars import read_rows

#: Points of a curve that are drawn.
MOST_POINTS = 60
#: What online methods with Inconsistency Masks log.
INCONSISTENT = "train/inconsistent"

Curve = NDArray[np.float64]
"""(N, 2): iteration and value."""


class CurveReader:
    """Reads the curves of trainings, each file once.

    Args:
        stages: The stages.
    """

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._rows: dict[str, list[dict[str, Any]]] = {}

    def of_cell(self, cell: Cell, quantity: str) -> list[Curve]:
        """Return one curve per seed: of the trainings in the table, or before, of the latest."""
        done, begun = [], []
        for seed in cell.finals:
            final = self._stages.final(cell, seed)
            chosen = self._stages.outcome(final).get("selected_generation")
            training = self._stages.selected(final, chosen) if chosen else None
            if training is not None:
                done.append(self._curve(training, quantity))
                continue
            for g in range(self._stages.rounds(final), 0, -1):
                candidates = self._stages.inputs(final, generation_role(g))
                found = [c for one in candidates if len(c := self._curve(one, quantity))]
                if found:
                    begun.append(found[0])
                    break
        return [curve for curve in done if len(curve)] or begun

    def _curve(self, stage: Stage, quantity: str) -> Curve:
        if stage.key not in self._rows:
            self._rows[stage.key] = _wanted(self._stages.folder(stage).path / "scalars.jsonl")
        rows = self._rows[stage.key]
        points = [
            (row["iter"], row[quantity])
            for row in rows
            if isinstance(row.get(quantity), (int, float))
        ]
        return np.array(points, float).reshape(-1, 2)


def _wanted(path: Path) -> list[dict[str, Any]]:
    """Return the rows that charts are made of; of a damaged file as much as can be read."""
    try:
        rows = read_rows(path)
    except (OSError, UnicodeDecodeError):
        return []
    return [
        row
        for row in rows
        if isinstance(row, dict)
        and isinstance(row.get("iter"), (int, float))
        and (INCONSISTENT in row or any(name.startswith("val/") for name in row))
    ]


def learning_charts(
    stages: Stages, table: ResultsTable, styles: Mapping[str, MethodStyle], reader: CurveReader
) -> tuple[Chart, ...]:
    """Return, for each data set, the validation metric over iterations of each method."""
    charts = []
    for column in table.columns:
        metric = column.metric or str(stages.meta(column.data).get("metric", ""))
        shown = Column(column.data, column.split, metric)
        series = _series(stages, column.data, f"val/{metric}", shown.unit, styles, reader)
        if metric and series:
            charts.append(_chart(column.name, f"validation {heading(shown)}", series))
    return tuple(charts)


def inconsistency_charts(
    stages: Stages, table: ResultsTable, styles: Mapping[str, MethodStyle], reader: CurveReader
) -> tuple[Chart, ...]:
    """Return, for each data set, the inconsistent share of pixels over iterations."""
    return tuple(
        _chart(column.name, "inconsistent pixels %", series)
        for column in table.columns
        if (series := _series(stages, column.data, INCONSISTENT, "%", styles, reader))
    )


def _chart(data: str, y_label: str, series: Sequence[Series]) -> Chart:
    """Draw curves; over a logarithmic axis where some are many times longer than others."""
    lengths = [one.points[-1][0] for one in series]
    uneven = max(lengths) > 4 * min(lengths) and min(one.points[0][0] for one in series) > 0
    axis: Axis = "log" if uneven else "linear"
    return line_chart(data, "iterations", y_label, series, axis)


def _series(
    stages: Stages,
    data: str,
    quantity: str,
    unit: str,
    styles: Mapping[str, MethodStyle],
    reader: CurveReader,
) -> list[Series]:
    factor = 100 if unit == "%" else 1
    return [
        _mean(cell.method, styles[cell.method].look, curves, factor)
        for cell in stages.plan.cells
        if cell.data == data
        and cell.method in styles
        and (curves := reader.of_cell(cell, quantity))
    ]


def _mean(name: str, look: str, curves: Sequence[Curve], factor: float) -> Series:
    """Return the mean of curves, with a band of one standard deviation where there are several.

    Curves whose iterations differ are interpolated, as far as the shortest one goes.
    """
    first = curves[0][:, 0]
    if all(np.array_equal(curve[:, 0], first) for curve in curves):
        grid = first
    else:
        begin = max(curve[0, 0] for curve in curves)
        grid = np.linspace(begin, max(begin, min(curve[-1, 0] for curve in curves)), MOST_POINTS)
    if len(grid) > MOST_POINTS:
        grid = grid[np.linspace(0, len(grid) - 1, MOST_POINTS).round().astype(int)]
    values = factor * np.stack([np.interp(grid, *curve.T) for curve in curves])
    mean = values.mean(0)
    band: list[tuple[float, float, float]] = []
    if len(curves) > 1:
        std = values.std(0, ddof=1)
        band = list(zip(grid.tolist(), (mean - std).tolist(), (mean + std).tolist(), strict=True))
    points = list(zip(grid.tolist(), mean.tolist(), strict=True))
    return Series(name, look, points, band)
