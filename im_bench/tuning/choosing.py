"""Which values are tried next, and which trials are given up: Optuna's samplers and pruners.

All are named with their settings, so that another version of Optuna with other defaults does not
make another study.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from im_bench.errors import unknown_name
from im_bench.suites.seeds import seed_of

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

SAMPLERS = ("tpe", "random", "qmc")
PRUNERS = ("median", "hyperband", "wilcoxon", "none")
#: Trials that are completed before the median of others says anything.
FIRST_TRIALS = 4


def make_sampler(name: str, seed: int) -> BaseSampler:
    """Return a sampler.

    What it draws for a trial depends on the seed, the trial's number and the trials before: so two
    workers draw different values, and one that works alone, a trial at a time, the same again.

    Args:
        name: ``tpe`` (multivariate, and aware of trials that run elsewhere), ``random`` or ``qmc``
            (a scrambled Sobol sequence).
        seed: Of its choices.

    Raises:
        ImBenchError: There is no such sampler.
    """
    from optuna import samplers

    if name not in SAMPLERS:
        raise unknown_name("sampler", name, SAMPLERS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Some settings count as experimental.
        if name == "tpe":
            return _drawing_by_trial(
                samplers.TPESampler,
                seed,
                n_startup_trials=10,
                n_ei_candidates=24,
                multivariate=True,
                group=False,
                constant_liar=True,
            )
        if name == "qmc":
            return samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=seed)
        return _drawing_by_trial(samplers.RandomSampler, seed)


def _drawing_by_trial(kind: Any, seed: int, **settings: Any) -> BaseSampler:
    """Return a sampler whose generators begin anew with each trial, by the seed and its number."""

    class DrawingByTrial(kind):  # type: ignore[misc]
        def before_trial(self, study: Study, trial: FrozenTrial) -> None:
            super().before_trial(study, trial)
            samplers: list[Any] = [self, getattr(self, "_random_sampler", self)]
            for each in samplers:
                each._rng.rng.seed(seed_of("trial", seed, trial.number))

    sampler: BaseSampler = DrawingByTrial(**settings)
    return sampler


def make_pruner(name: str, validations: int, instances: int) -> BasePruner:
    """Return a pruner.

    Args:
        name: ``median``: gives up what is worse than half of the others were at the same step.
            ``hyperband``: lets a third go on at each of several steps. ``wilcoxon``: compares,
            instance by instance, with the best trial, for a mean over many of them. ``none``.
        validations: Of one training.
        instances: Data sets times seeds, whose scores are averaged.

    Raises:
        ImBenchError: There is no such pruner.
    """
    from optuna import pruners

    if name not in PRUNERS:
        raise unknown_name("pruner", name, PRUNERS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "median":
            return pruners.MedianPruner(
                n_startup_trials=FIRST_TRIALS,
                n_warmup_steps=validations // 4 + 1,  # A first validation says little.
                interval_steps=1,
                n_min_trials=1,
            )
        if name == "hyperband":
            return pruners.HyperbandPruner(
                min_resource=max(1, validations // 9),
                max_resource=instances * (validations + 1),
                reduction_factor=3,
            )
        if name == "wilcoxon":
            return pruners.WilcoxonPruner(p_threshold=0.1, n_startup_steps=2)
    return pruners.NopPruner()
