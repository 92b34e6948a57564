"""Reads the results of a plan into tables. Nothing is stored: a table is what the files say now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from im_bench.planning.plan import Cell, Plan
from im_bench.report.exchange.importing import imported
from im_bench.report.reference import References, ReportedNumber, load_references
from im_bench.report.results import (
    SHARES,
    CellResults,
    headline_of,
    part_of,
    rows_of,
    shares_of,
)
from im_bench.report.tables.columns import columns_of
from im_bench.report.tables.entries import (
    Column,
    Entry,
    GenerationRow,
    GenerationsTable,
    ResultsTable,
)
from im_bench.report.tables.matching import compare
from im_bench.report.tables.notes import generation_notes, results_notes
from im_bench.report.tables.ranking import marked, with_mean_ranks
from im_bench.runner.store import Store
from im_bench.suites.graph import generations_of, labels_role

__all__ = ["SHARES", "CellResults", "generations_table", "long_rows", "results_table"]


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
    compared = any(plan.suite.data[cell.data].reference for cell in plan.cells)
    numbers = load_references() if references is None and compared else references or ()
    others = imported(plan, store.out)
    columns = columns_of(plan, {**others.metrics, **results.metrics()})
    own = rows_of(plan)
    comparison = compare(plan, columns, own, numbers)
    entries = {
        (cell.method, cell.data): _entry(
            cell, results, comparison.chosen.get((cell.method, cell.data))
        )
        for cell in plan.cells
    }
    shown = list(columns.values())
    rows = (*own, *others.rows)
    ranked = marked({**entries, **others.entries}, rows, shown)
    rows = with_mean_ranks(rows, shown, ranked)
    notes = (
        *results.warnings(),
        *results_notes(plan, store, shown, rows, comparison),
        *others.notes,
    )
    return ResultsTable(plan.name, tuple(shown), rows, ranked, notes)


def _entry(cell: Cell, results: CellResults, number: ReportedNumber | None) -> Entry:
    scores = {seed: headline_of(one) for seed, one in results.outcomes(cell).items()}
    entry = Entry(scores, tuple(cell.finals), results.state(cell))
    if number is None:
        return entry
    return replace(
        entry, reported=number.score, source=number.source, approximate=number.approximate
    )


def generations_table(plan: Plan, store: Store) -> GenerationsTable:
    """Return the test scores and the shares kept, by generation, of methods that have them."""
    results = CellResults(plan, store)
    columns = columns_of(plan, results.metrics())
    rows: list[GenerationRow] = []
    for cell in plan.cells:
        rounds = _rounds(plan, cell)
        if rounds:
            rows += _generation_rows(cell, columns[cell.data], results, rounds)
    most = max((len(row.entries) for row in rows), default=0)
    return GenerationsTable(plan.name, most, tuple(rows), generation_notes(plan, store))


def _rounds(plan: Plan, cell: Cell) -> int:
    """Return a cell's number of generations; 0 if it makes no pseudo-labels."""
    inputs = plan.graph[next(iter(cell.finals.values()))].inputs
    return len(generations_of(inputs)) if labels_role(1) in inputs else 0


def _generation_rows(
    cell: Cell, column: Column, results: CellResults, rounds: int
) -> list[GenerationRow]:
    state = results.state(cell)
    outcomes = results.outcomes(cell)

    def entry(quantity: str, g: int) -> Entry:
        found = {seed: (o, o["generations"][g]) for seed, o in outcomes.items()}
        values = {
            seed: headline_of(o, one) if quantity == "test" else float(shares_of(one)[quantity])
            for seed, (o, one) in found.items()
            if quantity == "test" or quantity in shares_of(one)
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
            "test": headline_of(outcome, one) if part_of(outcome) == "test" else None,
            "val": one["val"].get(outcome["metric"]),
            **{share: shares_of(one).get(share) for share in SHARES},
            "iterations": one.get("iterations"),
            "selected": one.get("selected"),
        }
        for cell in plan.cells
        for seed, outcome in results.outcomes(cell).items()
        for one in outcome["generations"]
    ]
