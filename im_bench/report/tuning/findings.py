"""What a study has found: its best trial beside the method's own values, and what matters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from im_bench.evaluation.registry import higher_is_better, title_of
from im_bench.report.tuning.importances import Importances, importances_of
from im_bench.tuning.labels.front import front
from im_bench.tuning.study import Definition, TrialRecord, TrialState, records_of
from im_bench.tuning.tuned import default_of, own_value, ranked

if TYPE_CHECKING:
    from optuna.study import Study

#: What the two values of a search on cached predictions are, both maximised.
LABEL_OBJECTIVES = ("quality", "coverage")


@dataclass(frozen=True)
class SearchedField:
    """A field of the method that is searched.

    Attributes:
        name: With dots, such as ``im.erode``.
        words: Its range in words.
        scale: How its values are spread; ``choice`` if they are no numbers of a range.
        choices: All values of a ``choice``.
        default: The method's own value.
    """

    name: str
    words: str
    scale: Literal["linear", "log", "whole", "choice"]
    choices: tuple[Any, ...]
    default: Any

    @property
    def numeric(self) -> bool:
        """Whether all of its values are numbers; the page's template asks."""
        return not any(isinstance(one, bool | str) for one in self.choices)


@dataclass(frozen=True)
class Findings:
    """A study and what became of its trials.

    Attributes:
        name: Of the study.
        where: The storage, without its password.
        definition: What the study is.
        fields: What it searches.
        records: Its trials.
        importances: Which fields matter, or why that cannot be said.
    """

    name: str
    where: str
    definition: Definition
    fields: tuple[SearchedField, ...]
    records: tuple[TrialRecord, ...]
    importances: Importances

    @property
    def objectives(self) -> tuple[str, ...]:
        """What the values of a trial are."""
        if self.definition.objective == "pseudo-labels":
            return LABEL_OBJECTIVES
        return (title_of(self.definition.metric),)

    @property
    def several(self) -> bool:
        """Whether trials have more than one value, so that there is a front instead of a best."""
        return len(self.objectives) > 1

    @property
    def higher(self) -> bool:
        """Whether a greater value is better."""
        return self.several or higher_is_better(self.definition.metric)

    @property
    def counts(self) -> dict[TrialState, int]:
        """How many trials stand where; states without any are left out."""
        found = Counter(record.state for record in self.records)
        return {state: found[state] for state in TrialState if found[state]}

    @cached_property
    def complete(self) -> list[TrialRecord]:
        """The trials that have values."""
        return [record for record in self.records if record.values]

    @cached_property
    def front(self) -> list[TrialRecord]:
        """The trials of the Pareto front, by rising coverage; empty for one objective."""
        return front(self.records) if self.several else []

    @cached_property
    def best(self) -> TrialRecord | None:
        """The best trial; for two objectives the one that is best balanced, one of the front."""
        return next(iter(self.ranked), None)

    @cached_property
    def ranked(self) -> list[TrialRecord]:
        """The complete trials, the best first; two values are compared by their balance."""
        return ranked(self.definition, self.records)

    @cached_property
    def own(self) -> TrialRecord | None:
        """The trial with the method's own values, if there is one."""
        return default_of(self.definition, self.records)

    @property
    def own_pending(self) -> bool:
        """Whether the method's own values are still to be tried: they are those of trial 0."""
        first = self.records[0].state if self.records else TrialState.WAITING
        return self.own is None and first is TrialState.WAITING

    @cached_property
    def best_so_far(self) -> dict[int, float]:
        """The best value up to a trial, by its number, from the first complete one on."""
        better = max if self.higher else min
        found: dict[int, float] = {}
        best: float | None = None
        for record in self.records:
            if record.values:
                best = record.values[0] if best is None else better(best, record.values[0])
            if best is not None:
                found[record.number] = best
        return found


def findings(study: Study, where: str) -> Findings:
    """Return what a study has found so far; nothing is written.

    Args:
        study: One of ``im-bench tune``.
        where: The storage, without its password.

    Raises:
        ImBenchError: The study is none of im-bench's.
    """
    definition = Definition.read(study)
    records = tuple(records_of(study))
    return Findings(
        study.study_name,
        where,
        definition,
        tuple(_fields(study, definition)),
        records,
        importances_of(study),
    )


def _fields(study: Study, definition: Definition) -> Iterable[SearchedField]:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    distributions: dict[str, Any] = {}
    for trial in study.get_trials(deepcopy=False):
        distributions.update(trial.distributions)
        if distributions.keys() >= definition.space.keys():
            break
    for name, words in definition.space.items():
        default = own_value(definition.fields, name)
        one = distributions.get(name)
        if isinstance(one, CategoricalDistribution):
            yield SearchedField(name, words, "choice", tuple(one.choices), default)
        elif getattr(one, "log", False):
            yield SearchedField(name, words, "log", (), default)
        else:
            whole = isinstance(one, IntDistribution)
            yield SearchedField(name, words, "whole" if whole else "linear", (), default)


def worth_showing(found: Findings, best: int = 5, latest: int = 10) -> Sequence[TrialRecord]:
    """Return the trials that tell the most: the best, the latest, and the latest that failed."""
    failed = [one for one in found.records if one.state in (TrialState.FAILED, TrialState.LOST)]
    chosen = [*found.ranked[:best], *found.records[-latest:], *failed[-best:]]
    own = [found.own] if found.own else []
    return sorted({one.number: one for one in [*chosen, *own]}.values(), key=lambda o: o.number)
