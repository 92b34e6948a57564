"""Reads the results of a plan into tables. Nothing is stored: a table is what the files say now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from im_bench.report.entries import (
    Column,
    Entry,
    GenerationRow,
    GenerationsTable,
    ResultsTable,
    Row,
    State,
)
from im_bench.report.notes import generation_notes, results_notes
from im_bench.report.reference import References, ReportedNumber, load_references
from im_bench.runner.store import Status, Store
from im_bench.suites.graph import Stage
from im_bench.suites.plan import Cell, Plan

#: Shares that pseudo-label stages leave, in the order of the table.
SHARES = ("images_kept", "pixels_kept", "label_accuracy")


class CellResults:
    """The outcomes of all cells of a plan, read once.

    Args:
        plan: Says which there should be.
        store: Says which there are.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan = plan
        self._store = store
        self._known: dict[str, Status] = {}
        self._outcomes = {
            (cell.name, seed): result["outcome"]
            for cell in plan.cells
            for seed, key in cell.finals.items()
            if (result := store.result(plan.graph[key])) is not None
        }

    def outcomes(self, cell: Cell) -> dict[int, Mapping[str, Any]]:
        """Return the outcomes of a cell by seed, as far as they are there."""
        return {
            seed: self._outcomes[cell.name, seed]
            for seed in cell.finals
            if (cell.name, seed) in self._outcomes
        }

    def state(self, cell: Cell) -> State:
        """Return where a cell stands; a failure anywhere among its stages counts."""
        missing = [k for seed, k in cell.finals.items() if (cell.name, seed) not in self._outcomes]
        if not missing:
            return State.DONE
        if cell.problem:
            return State.NO_DATA
        found = {self._status(stage) for stage in self.plan.closure(missing)}
        for status, state in ((Status.FAILED, State.FAILED), (Status.RUNNING, State.RUNNING)):
            if status in found:
                return state
        return State.PLANNED

    def _status(self, stage: Stage) -> Status:
        if stage.key not in self._known:
            self._known[stage.key] = self._store.status(stage)
        return self._known[stage.key]

    def column(self, data: str) -> Column:
        """Return a data set's column; its metric is the one that the results name."""
        cells = [cell for cell in self.plan.cells if cell.data == data]
        metrics = [o["metric"] for cell in cells for o in self.outcomes(cell).values()]
        return Column(data, cells[0].split, metrics[0] if metrics else "")


def results_table(plan: Plan, store: Store, references: References | None = None) -> ResultsTable:
    """Return the methods by data sets of a plan, as far as they are done.

    Args:
        plan: What was asked for.
        store: What is there.
        references: Reported numbers by (data set, method); by default the built-in ones.

    Raises:
        ImBenchError: If the table of reported numbers is wrong.
    """
    results = CellResults(plan, store)
    numbers = load_references() if references is None else references
    columns = {cell.data: results.column(cell.data) for cell in plan.cells}
    rows = _rows(plan)
    reported = {
        cell.name: number
        for cell in plan.cells
        if (number := _reported(cell, plan, columns[cell.data], numbers)) is not None
    }
    entries = {
        (cell.method, cell.data): _entry(cell, results, reported.get(cell.name))
        for cell in plan.cells
    }
    for column in columns.values():
        _rank(entries, rows, column)
    notes = results_notes(plan, store, list(reported.values()))
    return ResultsTable(plan.name, tuple(columns.values()), rows, entries, notes)


def _rows(plan: Plan) -> tuple[Row, ...]:
    rows: dict[str, Row] = {}
    for cell in plan.cells:
        stages = plan.stages_of(cell) if cell.method not in rows else []
        all_labels = any(stage.config.get("part") == "all" for stage in stages)
        rows.setdefault(cell.method, Row(cell.method, cell.title, all_labels))
    return tuple(sorted(rows.values(), key=lambda row: row.all_labels))


def _entry(cell: Cell, results: CellResults, reported: ReportedNumber | None) -> Entry:
    scores = {
        seed: float(outcome["test"][outcome["metric"]])
        for seed, outcome in results.outcomes(cell).items()
    }
    return Entry(
        scores, tuple(cell.finals), results.state(cell), reported.score if reported else None
    )


def _reported(
    cell: Cell, plan: Plan, column: Column, references: References
) -> ReportedNumber | None:
    """Return the number for the same real data set, metric and share of labels, if there is one."""
    spec = plan.suite.data[cell.data]
    number = references.get((spec.reference or "", cell.method))
    if number is None or spec.synth is not None:
        return None
    same_metric = column.metric in ("", number.metric)
    same_labels = number.labelled == 1 or spec.labelled in ("file", number.labelled)
    return number if same_metric and same_labels else None


def _rank(entries: dict[tuple[str, str], Entry], rows: tuple[Row, ...], column: Column) -> None:
    """Mark best and second best among complete entries; equal ones, as printed, share a mark."""
    printed = {
        key: round(mean * (100 if column.unit == "%" else 1), 1)
        for row in rows
        if not row.all_labels
        and (entry := entries.get(key := (row.method, column.data)))
        and entry.complete
        and (mean := entry.mean) is not None
        and mean == mean
    }
    best = sorted(set(printed.values()), reverse=bool(column.higher))[:2]
    if len(printed) < 2:
        return
    for key, value in printed.items():
        if value in best:
            entries[key] = replace(entries[key], rank=best.index(value) + 1)


def generations_table(plan: Plan, store: Store) -> GenerationsTable:
    """Return the test scores and the shares kept, by generation, of methods that have them."""
    results = CellResults(plan, store)
    rows: list[GenerationRow] = []
    for cell in plan.cells:
        rounds = _rounds(plan, cell)
        if rounds:
            rows += _generation_rows(cell, results, rounds)
    most = max((len(row.entries) for row in rows), default=0)
    return GenerationsTable(plan.name, most, tuple(rows), generation_notes(plan))


def _rounds(plan: Plan, cell: Cell) -> int:
    """Return a cell's number of generations; 0 if it makes no pseudo-labels."""
    roles = plan.graph[next(iter(cell.finals.values()))].inputs
    if not any(role.startswith("labels-") for role in roles):
        return 0
    return sum(role.startswith("generation-") for role in roles)


def _generation_rows(cell: Cell, results: CellResults, rounds: int) -> list[GenerationRow]:
    column, state = results.column(cell.data), results.state(cell)
    outcomes = results.outcomes(cell)

    def entry(quantity: str, g: int) -> Entry:
        found = {seed: o["generations"][g] for seed, o in outcomes.items()}
        values = {
            seed: float(
                one["test"][column.metric] if quantity == "test" else _shares(one)[quantity]
            )
            for seed, one in found.items()
            if quantity == "test" or quantity in _shares(one)
        }
        return Entry(values, tuple(cell.finals), state)

    rows = [
        GenerationRow(
            column,
            cell.method,
            cell.title,
            quantity,
            tuple(entry(quantity, g) for g in range(rounds)),
        )
        for quantity in ("test", *SHARES)
    ]
    return [row for row in rows if row.quantity == "test" or any(e.scores for e in row.entries)]


def _shares(generation: Mapping[str, Any]) -> dict[str, float]:
    """Return the shares of a generation that mean something: of no images there are no pixels."""
    return {
        share: generation[share]
        for share in SHARES
        if share in generation and (share == "images_kept" or generation["images_kept"])
    }


def long_rows(plan: Plan, store: Store) -> list[dict[str, Any]]:
    """Return one row per cell, seed and generation: the numbers behind both tables."""
    results = CellResults(plan, store)
    return [
        {
            "suite": plan.suite.name,
            "budget": plan.budget,
            "data": cell.data,
            "split": cell.split,
            "method": cell.method,
            "seed": seed,
            "generation": one["generation"],
            "in_table": one["generation"] == outcome["selected_generation"],
            "metric": outcome["metric"],
            "test": one["test"][outcome["metric"]],
            "val": one["val"].get(outcome["metric"]),
            **{share: _shares(one).get(share) for share in SHARES},
            "iterations": one.get("iterations"),
            "selected": one.get("selected"),
        }
        for cell in plan.cells
        for seed, outcome in results.outcomes(cell).items()
        for one in outcome["generations"]
    ]
