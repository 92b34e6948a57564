"""A study: what identifies it, how it is found again, and what has become of its trials."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from im_bench.errors import ImBenchError, unknown_name
from im_bench.files import sha256_json
from im_bench.planning.plan import Plan
from im_bench.schedules.base import Schedule
from im_bench.suites.recipes import RECIPES
from im_bench.tuning.storage import StudyStorage, history_of, origin_of, shown

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

#: Attribute of a study: its definition.
DEFINITION = "im-bench"
#: Attributes of a trial: why it failed, when it was pruned, that it came after the budget was used.
FAILURE, PRUNED_AT, SURPLUS = "failure", "pruned", "surplus"

#: Kinds of stages whose versions a trained score depends on.
TRAINED = ("data", "train", "pseudo-label", "evaluate")

Direction = Literal["maximize", "minimize"]
Objective = Literal["training", "pseudo-labels"]


@dataclass(frozen=True)
class Definition:
    """What identifies a study: two with the same definition are one.

    Attributes:
        suite: Name of the suite.
        budget: Its budget.
        method: Name of the method in the suite.
        data: Data sets whose scores are averaged.
        seeds: Repetitions whose scores are averaged; none of them is reported.
        objective: ``training``: validation scores of trained networks; ``pseudo-labels``: quality
            and coverage of the labels that cached predictions give.
        metric: Headline of the data sets.
        space: What is searched, in words.
        fields: The method's own values.
        protocol: SHA-256 of all else that a score depends on.
        sampler: How values are chosen.
        pruner: How trials that fall behind are given up.
        hold_out: Share of the labelled images that scores are of, or None for the data's own
            validation images.
        min_coverage: What pseudo-labels must cover at least, or None.
    """

    suite: str
    budget: str
    method: str
    data: tuple[str, ...]
    seeds: tuple[int, ...]
    objective: Objective
    metric: str
    space: Mapping[str, str]
    fields: Mapping[str, Any]
    protocol: str
    sampler: str
    pruner: str
    hold_out: float | None = None
    min_coverage: float | None = None

    @property
    def name(self) -> str:
        """The study's name unless the user gives one; also a file's name."""
        words = [self.method, *self.data]
        if self.objective != "training":
            words.append(self.objective)
        readable = re.sub(r"[^a-z0-9._-]+", "-", "-".join(words))
        return f"{readable}-{sha256_json(self.stored())[:8]}"

    def stored(self) -> dict[str, Any]:
        """Return the definition as JSON keeps it."""
        value = asdict(self)
        if self.min_coverage is None:
            del value["min_coverage"]
        return {**value, "data": list(self.data), "seeds": list(self.seeds)}

    @classmethod
    def read(cls, study: Study) -> Definition:
        """Return a study's definition.

        Raises:
            ImBenchError: The study is none of im-bench's.
        """
        value = study.user_attrs.get(DEFINITION)
        try:
            fields: dict[str, Any] = dict(value or {})
            for name in ("data", "seeds"):
                fields[name] = tuple(fields[name])
            return cls(**fields)
        except (TypeError, KeyError, ValueError):
            raise ImBenchError(
                f"the study {study.study_name!r} was not made by `im-bench tune`, or by another "
                "version of it: name another one"
            ) from None


def protocol_of(plan: Plan, data: Sequence[str]) -> str:
    """Return the SHA-256 of what trials have in common beside their method."""
    suite = plan.suite
    specs = {
        name: suite.data[name].model_dump(
            mode="json",
            exclude={"resources", "reference", "group"},
            exclude_defaults=True,  # A field that comes to be makes no other study.
        )
        for name in data
    }
    return sha256_json(
        {
            "data": specs,
            "training": suite.training.model_dump(mode="json"),
            "budget": getattr(suite.budgets, plan.budget).model_dump(mode="json"),
            "recipes": {kind: RECIPES[kind].version for kind in TRAINED},
        }
    )


def fields_of(method: Schedule) -> dict[str, Any]:
    """Return a method's values as JSON keeps them."""
    return method.model_dump(mode="json", exclude={"method"})


def check_name(name: str) -> None:
    """Check a name that the user gives a study, which is also a suite's and a folder's.

    Raises:
        ImBenchError: It cannot be one.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise ImBenchError(
            f"--study {name!r}: a name has small letters, digits, '.', '_' and '-', and begins "
            "with a letter or digit"
        )


def open_study(
    storage: StudyStorage,
    definition: Definition,
    directions: Sequence[Direction],
    name: str | None = None,
    first: Mapping[str, Any] | None = None,
) -> Study:
    """Return the study of this definition: a new one, or the one that was begun before.

    Args:
        storage: Where it is kept.
        definition: What it must be.
        directions: ``maximize`` or ``minimize`` for each objective.
        name: The user's; by default the definition's.
        first: Values of the first trial, such as the method's own.

    Raises:
        ImBenchError: Another study has this name.
    """
    import optuna

    name = name or definition.name
    try:
        study = optuna.create_study(
            study_name=name, storage=storage.optuna, directions=list(directions)
        )
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(study_name=name, storage=storage.optuna)
    else:
        study.set_user_attr(DEFINITION, definition.stored())
        if first is not None:
            study.enqueue_trial(dict(first))
        return study
    _wait_for_definition(study)
    _refuse_other(Definition.read(study), definition, name)
    return study


def load_study(storage: StudyStorage, name: str) -> Study:
    """Return a study by its name.

    Raises:
        ImBenchError: There is none.
    """
    import optuna

    names = optuna.get_all_study_names(storage.optuna)
    if name not in names:
        if not names:
            raise ImBenchError(
                f"{shown(storage.name)} holds no study: begin one with `im-bench tune`, or say "
                "with --storage where it is"
            )
        raise unknown_name("study", name, names)
    study = optuna.load_study(study_name=name, storage=storage.optuna)
    Definition.read(study)
    return study


def _wait_for_definition(study: Study, seconds: float = 10.0) -> None:
    """Wait until whoever has just made the study has said what it is."""
    deadline = time.monotonic() + seconds
    while DEFINITION not in study.user_attrs and time.monotonic() < deadline:
        time.sleep(0.1)


def _refuse_other(found: Definition, wanted: Definition, name: str) -> None:
    before, now = found.stored(), wanted.stored()
    other = [key for key in now if before.get(key) != now[key]]
    if other:
        told = "; ".join(f"{key} {before.get(key)!r}, now {now[key]!r}" for key in other[:3])
        raise ImBenchError(
            f"the study {name!r} is another one ({told}): give the same options as then, or "
            "another --study"
        )


class TrialState(str, Enum):
    """What has become of a trial."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    LOST = "lost"  # its worker died or was stopped; another trial goes on with the same values
    SURPLUS = "surplus"  # two workers asked for the last one


@dataclass(frozen=True)
class TrialRecord:
    """A trial, as it stands.

    Attributes:
        number: In the order of asking, from 0.
        state: What has become of it.
        params: The values that it tried.
        values: What came of it: one number per objective; none unless it is complete.
        curve: What it reported on its way, by step.
        reason: Why it failed, or where it was pruned.
        seconds: From asking to the end, if it has ended.
        feasible: Whether it keeps to the study's constraints.
        attributes: What else is known of it.
        origin: Number of the lost trial that it goes on for, the first of several; else its own.
            Its method is called after that one, so that its stages are the same.
    """

    number: int
    state: TrialState
    params: Mapping[str, Any]
    values: tuple[float, ...] = ()
    curve: Mapping[int, float] = field(default_factory=dict)
    reason: str = ""
    seconds: float | None = None
    feasible: bool = True
    attributes: Mapping[str, Any] = field(default_factory=dict)
    origin: int = -1

    @property
    def counts(self) -> bool:
        """Whether it is one of the trials of the budget."""
        return self.state not in (TrialState.LOST, TrialState.SURPLUS)


def records_of(study: Study) -> list[TrialRecord]:
    """Return a study's trials, in the order of their numbers."""
    trials = study.get_trials(deepcopy=False)
    goes_on = {number: trial.number for trial in trials for number in history_of(trial)}
    return [_record(trial, goes_on.get(trial.number)) for trial in trials]


def _record(trial: FrozenTrial, successor: int | None) -> TrialRecord:
    state, attributes = TrialState(_STATES[trial.state.name]), trial.user_attrs
    reason = ""
    if state is TrialState.FAILED:
        reason = str(attributes.get(FAILURE, "not recorded"))
        if SURPLUS in attributes:
            state, reason = TrialState.SURPLUS, "came after the last one"
        elif successor is not None:
            state, reason = TrialState.LOST, f"its worker ended; trial {successor} goes on for it"
    elif state is TrialState.PRUNED:
        reason = str(attributes.get(PRUNED_AT, ""))
    return TrialRecord(
        number=trial.number,
        state=state,
        params=dict(trial.params),
        values=tuple(trial.values or ()) if state is TrialState.COMPLETE else (),
        curve=dict(trial.intermediate_values),
        reason=reason,
        seconds=trial.duration.total_seconds() if trial.duration else None,
        feasible=all(value <= 0 for value in trial.constraints.values()),
        attributes=dict(attributes),
        origin=origin_of(trial),
    )


_STATES = {
    "WAITING": "waiting",
    "RUNNING": "running",
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
}
