"""The stages of a plan as a page reads them: each file once, and only what is there."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Any

from im_bench.errors import ImBenchError
from im_bench.files import read_json
from im_bench.planning.plan import Cell, Plan
from im_bench.runner.folder import StageFolder
from im_bench.runner.store import Status, Store
from im_bench.suites.graph import Stage, generation_role, generations_of


class Stages:
    """What is known of a plan's stages.

    Args:
        plan: Says which there should be.
        store: Says which there are.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan = plan
        self.existing = store.existing(plan.graph)
        self._store = store
        self._results = {
            stage.key: result
            for stage in self.existing
            if (result := store.result(stage)) is not None
        }

    def folder(self, stage: Stage) -> StageFolder:
        """Return the stage's folder, which need not exist."""
        return self._store.folder(stage)

    def result(self, stage: Stage) -> dict[str, Any] | None:
        """Return the content of ``result.json``, or None if the stage is not done."""
        return self._results.get(stage.key)

    def outcome(self, stage: Stage) -> dict[str, Any]:
        """Return what the stage returned, or nothing if it is not done."""
        outcome: dict[str, Any] = (self.result(stage) or {}).get("outcome", {})
        return outcome

    @cached_property
    def statuses(self) -> dict[str, Status]:
        """Where each stage stands, by key."""
        there = {stage.key for stage in self.existing}
        return {
            stage.key: Status.DONE
            if stage.key in self._results
            else self._store.status(stage)
            if stage.key in there
            else Status.PLANNED
            for stage in self.plan.graph
        }

    @cached_property
    def counts(self) -> Counter[Status]:
        """How many stages stand where."""
        return Counter(self.statuses.values())

    def inputs(self, stage: Stage, role: str) -> list[Stage]:
        """Return the stages whose artifacts are read in a role."""
        return [self.plan.graph[key] for key in stage.inputs.get(role, ())]

    def final(self, cell: Cell, seed: int) -> Stage:
        """Return the stage that holds a cell's scores."""
        return self.plan.graph[cell.finals[seed]]

    def rounds(self, final: Stage) -> int:
        """Return the number of generations whose trainings an ``evaluate`` stage scores."""
        return len(generations_of(final.inputs))

    def selected(self, final: Stage, generation: int) -> Stage | None:
        """Return the training that stands for a generation, or None before it is known."""
        scored = self.outcome(final).get("generations", [])
        name = next((g.get("selected") for g in scored if g.get("generation") == generation), None)
        trainings = self.inputs(final, generation_role(generation))
        named = (one for one in trainings if one.folder.rpartition("/")[2] == name)
        return next(named, None)

    def meta(self, data: str) -> dict[str, Any]:
        """Return the ``meta.json`` of a data set, or nothing before it is packed."""
        cell = next(cell for cell in self.plan.cells if cell.data == data)
        final = self.final(cell, next(iter(cell.finals)))
        for stage in self.inputs(final, "data"):
            try:
                value = read_json(self.folder(stage).path / "arrays" / "meta.json")
            except (OSError, ValueError, ImBenchError):
                continue
            if isinstance(value, dict):
                return value
        return {}
