"""What the stage folders of a plan say: the outcomes of its cells, and where they stand."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from im_bench.methods.names import registry_name, untuned_name
from im_bench.planning.plan import Cell, Plan
from im_bench.report.tables.columns import columns_of
from im_bench.report.tables.entries import Column, Row, State
from im_bench.runner.store import Status, Store
from im_bench.suites.graph import Stage

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
        for status in (Status.FAILED, Status.RUNNING, Status.PRUNED):
            if status in found:
                return State(status.value)
        return State.PLANNED

    def warnings(self) -> list[str]:
        """Return what the trainings behind the scores warn of, each with the cells and seeds."""
        found: dict[str, list[str]] = {}
        for (name, seed), outcome in self._outcomes.items():
            if "warning" in outcome:
                found.setdefault(outcome["warning"], []).append(f"{name}/s{seed}")
        return [f"Warning: {', '.join(names)}: {text}." for text, names in found.items()]

    def _status(self, stage: Stage) -> Status:
        if stage.key not in self._known:
            self._known[stage.key] = self._store.status(stage)
        return self._known[stage.key]

    def metrics(self) -> dict[str, str]:
        """Return the headline of each data set, as far as a result names it."""
        return {
            cell.data: str(outcome["metric"])
            for cell in reversed(self.plan.cells)
            for outcome in self.outcomes(cell).values()
        }

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The data sets by name, with the headline of each as far as a result names it."""
        return columns_of(self.plan, self.metrics())


def rows_of(plan: Plan) -> tuple[Row, ...]:
    """Return the methods of a plan, those that see all labels last."""
    rows: dict[str, Row] = {}
    for cell in plan.cells:
        stages = plan.stages_of(cell) if cell.method not in rows else []
        all_labels = any(stage.config.get("part") == "all" for stage in stages)
        rows.setdefault(cell.method, Row(cell.method, cell.title, all_labels, _base(cell, plan)))
    return tuple(sorted(rows.values(), key=lambda row: row.all_labels))


def _base(cell: Cell, plan: Plan) -> str:
    """Return the method of the plan that a cell's is an addition to, or an empty string."""
    for base in (untuned_name(cell.method), registry_name(cell.method)):
        if base != cell.method and base in plan.suite.methods:
            return base
    return ""


def part_of(outcome: Mapping[str, Any]) -> str:
    """Return which images an outcome's scores are of: ``test``, or ``val`` of a search's trials."""
    return str(outcome.get("part", "test"))


def headline_of(outcome: Mapping[str, Any], generation: Mapping[str, Any] | None = None) -> float:
    """Return the headline score of an outcome, or of one of its generations."""
    scores = (outcome if generation is None else generation)[part_of(outcome)]
    return float(scores[outcome["metric"]])


def shares_of(generation: Mapping[str, Any]) -> dict[str, float]:
    """Return the shares of a generation that mean something: of no images there are no pixels."""
    return {
        share: generation[share]
        for share in SHARES
        if share in generation and (share == "images_kept" or generation["images_kept"])
    }
