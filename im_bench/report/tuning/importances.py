"""Which fields matter: PED-ANOVA, which asks what good trials have in common."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.study import Study

#: Complete trials below which nothing is said.
FEWEST = 10
#: What counts as good: a tenth of the trials, but no fewer than the evaluator needs.
GOOD, GOOD_SHARE = 5, 0.1


@dataclass(frozen=True)
class Importances:
    """What part each field has in a trial being good.

    Attributes:
        shares: By field, the greatest first; together 1. Empty where nothing can be said.
        good: Share of the complete trials that count as good.
        problem: Why nothing can be said, or an empty string.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    good: float = 0.0
    problem: str = ""


def importances_of(study: Study) -> Importances:
    """Return which fields matter.

    With two objectives a good trial is one at or near the Pareto front.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < FEWEST:
        return Importances(
            problem=f"to say which fields matter takes {FEWEST} complete trials; so far there "
            f"{'is' if len(complete) == 1 else 'are'} {len(complete) or 'none'}"
        )
    if len({name for trial in complete for name in trial.params}) < 2:
        return Importances(problem="only one field is searched: there is nothing to compare")
    if len({tuple(trial.values) for trial in complete}) == 1:
        return Importances(problem="all complete trials have the same value: no field matters")
    good = max(GOOD_SHARE, GOOD / len(complete))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = get_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator(target_quantile=good)
        )
    return Importances(dict(shares), good)
