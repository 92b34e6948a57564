"""A trial as cells of a plan: one instance per data set and seed, run one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from im_bench.methods.names import MASKED, registry_name
from im_bench.planning.plan import Cell, Plan
from im_bench.runner.store import Store
from im_bench.schedules.base import Schedule
from im_bench.suites.graph import Stage, generations_of
from im_bench.training.scalars import read_rows
from im_bench.tuning.space import with_values

if TYPE_CHECKING:
    from optuna.trial import Trial


def trial_name(method: str, number: int) -> str:
    """Return what a trial's method is called in its plan: ``u2pl-t7+im``."""
    masked = MASKED if method.endswith(MASKED) else ""
    return f"{registry_name(method)}-t{number}{masked}"


def variant_fields(method: str, fields: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """Return the fields of a variant of a suite's method, as a suite file has them.

    Args:
        method: Name of the method in the suite.
        fields: Its fields there.
        values: The variant's own, whose names may be dotted.
    """
    return {"method": registry_name(method), **with_values(fields, values)}


def with_params(method: Schedule, name: str, values: Mapping[str, Any]) -> Schedule:
    """Return a method with other values, as a variant of the method of this name."""
    kind = method.method or registry_name(name)
    own = method.model_dump(exclude_none=True)
    return type(method).model_validate({**with_values(own, values), "method": kind})


@dataclass
class Instance:
    """One data set and seed of a trial.

    Attributes:
        data: The data set.
        seed: The seed.
        final: Key of the stage that has its score.
        pilot: The training whose validations are the trial's curve: the first of the last
            generation.
    """

    data: str
    seed: int
    final: str
    pilot: Stage


@dataclass
class LiveTrial:
    """A trial that this process works on.

    Attributes:
        trial: As Optuna has it.
        instances: What its score is the mean of.
        scores: Of the instances that are done.
        reported: The last step that was reported.
        failure: Why it cannot be completed, or an empty string.
    """

    trial: Trial
    instances: list[Instance]
    scores: list[float] = field(default_factory=list)
    reported: int = 0
    failure: str = ""

    @property
    def current(self) -> Instance:
        """The instance that runs."""
        return self.instances[len(self.scores)]


def instances_of(plan: Plan, cells: list[Cell]) -> list[Instance]:
    """Return the instances of a trial's cells: the first seed of all data sets, then the second."""
    seeds = list(cells[0].finals)
    return [
        Instance(cell.data, seed, cell.finals[seed], _pilot(plan, cell.finals[seed]))
        for seed in seeds
        for cell in cells
    ]


def _pilot(plan: Plan, final: str) -> Stage:
    return plan.graph[generations_of(plan.graph[final].inputs)[-1][0]]


def validation_scores(path: Path, metric: str) -> list[float]:
    """Return the validation scores that a training has written so far, in order."""
    key = f"val/{metric}"
    return [float(row[key]) for row in read_rows(path) if key in row]


def curve_of(store: Store, stage: Stage, metric: str, higher: bool) -> list[float]:
    """Return what a training would be worth if it ended after each of its validations."""
    scores = validation_scores(store.folder(stage).path / "scalars.jsonl", metric)
    if stage.config.get("keep") == "last":
        return scores
    return list(accumulate(scores, max if higher else min))
