"""Reads the results of a plan into tables. Nothing is stored: a table is what the files say now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from im_bench.methods.online import registry_name
from im_bench.report.columns import columns_of
from im_bench.report.entries import (
    Column,
    Entry,
    GenerationRow,
    GenerationsTable,
    ResultsTable,
    Row,
    State,
)
from im_bench.report.matching import compare
from im_bench.report.notes import generation_notes, results_notes
from im_bench.report.ranking import marked, with_mean_ranks
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

    def columns(self) -> dict[str, Column]:
        """Return the columns by data set; their metrics are those that the results name."""
        metrics = {
            cell.data: str(outcome["metric"])
            for cell in reversed(self.plan.cells)
            for outcome in self.outcomes(cell).values()
        }
        return columns_of(self.plan, metrics)


def results_table(plan: Plan, store: Store, references: References | None = None) -> ResultsTable:
    """Return the methods by data sets of a plan, as far as they are done.

    Args:
        plan: What was asked for.
        store: What is there.
        references: Reported numbers; by default the built-in ones.

    Raises:
        ImBenchError: If the table of reported numbers is wrong.
    """
    results = CellResults(plan, store)
    numbers = load_references() if references is None else references
    columns, rows = results.columns(), _rows(plan)
    comparison = compare(plan, columns, rows, numbers)
    entries = {
        (cell.method, cell.data): _entry(
            cell, results, comparison.chosen.get((cell.method, cell.data))
        )
        for cell in plan.cells
    }
    shown = list(columns.values())
    ranked = marked(entries, rows, shown)
    rows = with_mean_ranks(rows, shown, ranked)
    notes = results_notes(plan, store, shown, rows, comparison)
    return ResultsTable(plan.name, tuple(shown), rows, ranked, notes)


def _rows(plan: Plan) -> tuple[Row, ...]:
    rows: dict[str, Row] = {}
    for cell in plan.cells:
        stages = plan.stages_of(cell) if cell.method not in rows else []
        all_labels = any(stage.config.get("part") == "all" for stage in stages)
        rows.setdefault(cell.method, Row(cell.method, cell.title, all_labels, _base(cell, plan)))
    return tuple(sorted(rows.values(), key=lambda row: row.all_labels))


def _base(cell: Cell, plan: Plan) -> str:
    """Return the method of the plan that a cell's is an addition to, or an empty string."""
    base = registry_name(cell.method)
    return base if base != cell.method and base in plan.suite.methods else ""


def _entry(cell: Cell, results: CellResults, number: ReportedNumber | None) -> Entry:
    scores = {
        seed: float(outcome["test"][outcome["metric"]])
        for seed, outcome in results.outcomes(cell).items()
    }
    entry = Entry(scores, tuple(cell.finals), results.state(cell))
    if number is None:
        return entry
    return replace(
        entry, reported=number.score, source=number.source, approximate=number.approximate
    )


def generations_table(plan: Plan, store: Store) -> GenerationsTable:
    """Return the test scores and the shares kept, by generation, of methods that have them."""
    results = CellResults(plan, store)
    columns = results.columns()
    rows: list[GenerationRow] = []
    for cell in plan.cells:
        rounds = _rounds(plan, cell)
        if rounds:
            rows += _generation_rows(cell, columns[cell.data], results, rounds)
    most = max((len(row.entries) for row in rows), default=0)
    return GenerationsTable(plan.name, most, tuple(rows), generation_notes(plan))


def _rounds(plan: Plan, cell: Cell) -> int:
    """Return a cell's number of generations; 0 if it makes no pseudo-labels."""
    roles = plan.graph[next(iter(cell.finals.values()))].inputs
    if not any(role.startswith("labels-") for role in roles):
        return 0
    return sum(role.startswith("generation-") for role in roles)


def _generation_rows(
    cell: Cell, column: Column, results: CellResults, rounds: int
) -> list[GenerationRow]:
    state = results.state(cell)
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
