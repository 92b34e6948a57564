"""Searching on cached predictions: trials in batches, and the front of quality and coverage.

Scoring a trial takes a fraction of a millisecond, so neither the sampler nor the storage may take
much longer. Trials are asked for and told in a study in memory, and those of a batch are added to
the stored study as they are, finished: one record each instead of one for every value. A process
that dies leaves no trial half done, only a batch less.

The sampler is NSGA-II, whose generations are the batches: TPE, whose every trial looks at all
before it, is far slower, and the fronts are alike (``benchmarks/results/speed.md``). What is small
enough is tried completely instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from im_bench.data.arrays import read_arrays, read_meta
from im_bench.data.predictions import read_predictions
from im_bench.errors import ImBenchError
from im_bench.training.config import resolve_device
from im_bench.tuning.labels.knobs import Knobs, require_knobs
from im_bench.tuning.labels.scorer import LabelScorer, Score

OBJECTIVES = ("quality", "coverage")
"""What a study's two values are; see :class:`im_bench.tuning.labels.scorer.Score`."""
SAMPLER = "NSGA-II"
ACCURACY = "accuracy"  # attribute of a trial
BATCH = 50  # trials; also the population of NSGA-II
PART = "val"

Params = Mapping[str, Any]
Distributions = dict[str, BaseDistribution]
OnBatch = Callable[[int, int], None]


class SpaceLike(Protocol):
    """What is searched."""

    def distributions(self) -> Distributions:
        """Return the distributions by field."""


def tune_labels(
    study: Study,
    space: SpaceLike,
    data_dir: Path,
    predict_folder: Path,
    fields: Params,
    trials: int,
    device: str = "auto",
    on_batch: OnBatch | None = None,
    seed: int = 0,
    min_coverage: float = 0.0,
) -> None:
    """Search for how pseudo-labels are best made, until a study has so many finished trials.

    Args:
        study: Of two values, both maximised (:data:`OBJECTIVES`); one that was begun before goes
            on. One process works on it at a time. Its own sampler is not used.
        space: What is searched: names of ``fields``.
        data_dir: The folder ``arrays`` of the data stage.
        predict_folder: Of the predict stage.
        fields: The method's own values: its ``label_fields()``.
        trials: How many shall be finished; fewer, if there are not so many different ones.
        device: A torch device, or ``auto``.
        on_batch: Told after each batch how many trials are finished, and of how many.
        seed: Of the sampler.
        min_coverage: A constraint: what keeps less is never among the best.

    Raises:
        ImBenchError: The study, the space or the predictions do not fit.
    """
    distributions = space.distributions()
    require_knobs(distributions, fields)
    meta = read_meta(data_dir)
    scorer = LabelScorer(
        read_predictions(predict_folder, meta, PART),
        read_arrays(data_dir, PART)[1].numpy(),
        meta,
        fields["labels"],
        resolve_device(device),
    )
    for name, distribution in distributions.items():
        for value in _ends(distribution):
            scorer.mask(Knobs.of({**fields, name: value}))

    def score(trials: Iterable[Params]) -> list[Score]:
        return scorer.score([Knobs.of({**fields, **params}) for params in trials])

    search(study, distributions, score, trials, on_batch, seed, min_coverage)


def search(
    study: Study,
    distributions: Distributions,
    score: Callable[[Iterable[Params]], Sequence[Score]],
    trials: int,
    on_batch: OnBatch | None = None,
    seed: int = 0,
    min_coverage: float = 0.0,
) -> None:
    """Make trials in batches; see :func:`tune_labels`.

    Args:
        study: Likewise.
        distributions: What is searched, by field.
        score: Returns the scores of a batch of trials.
        trials: How many shall be finished.
        on_batch: Told after each batch.
        seed: Of the sampler.
        min_coverage: A constraint.
    """
    if study.directions != [StudyDirection.MAXIMIZE] * 2:
        raise ImBenchError(
            f"study {study.study_name!r} does not maximise quality and coverage: name another"
        )
    _finish_begun(study, distributions, score, min_coverage)
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    mirror = _mirror(finished, seed + len(finished))
    untried: list[Params] = []
    if (grid := _grid(distributions, trials)) is not None:
        tried = {_identity(trial.params) for trial in finished}
        untried = [params for params in grid if _identity(params) not in tried]
        trials = len(finished) + len(untried)
    done = len(finished)
    while done < trials:
        count = min(BATCH, trials - done)
        for params in untried[:count]:
            mirror.enqueue_trial(dict(params))
        untried = untried[count:]
        asked = [mirror.ask(distributions) for _ in range(count)]
        study.add_trials(_tell(mirror, asked, score, min_coverage))
        done += count
        if on_batch is not None:
            on_batch(done, trials)


def _finish_begun(
    study: Study,
    distributions: Distributions,
    score: Callable[[Iterable[Params]], Sequence[Score]],
    min_coverage: float,
) -> None:
    """Fail what a dead process left running, and make the trials that are queued."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    queued = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if queued:
        _tell(study, [study.ask(distributions) for _ in queued], score, min_coverage)


def _mirror(finished: Sequence[FrozenTrial], seed: int) -> Study:
    """Return a study in memory that has these trials, with the sampler."""
    sampler = optuna.samplers.NSGAIISampler(population_size=BATCH, seed=seed)
    mirror = optuna.create_study(directions=[StudyDirection.MAXIMIZE] * 2, sampler=sampler)
    mirror.add_trials(finished)
    return mirror


def _tell(
    study: Study,
    asked: Sequence[Trial],
    score: Callable[[Iterable[Params]], Sequence[Score]],
    min_coverage: float,
) -> list[FrozenTrial]:
    """Score trials and tell a study, and return them finished."""
    told = []
    for trial, result in zip(asked, score([each.params for each in asked]), strict=True):
        trial.set_user_attr(ACCURACY, result.accuracy)
        if min_coverage:
            trial.set_constraint("coverage", min_coverage - result.coverage)
        told.append(study.tell(trial, [result.quality, result.coverage]))
    return told


def _values(distribution: BaseDistribution) -> Sequence[Any] | None:
    """Return all values of a distribution, or None if they are numbers of any kind."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    return None


def _ends(distribution: BaseDistribution) -> Sequence[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return (distribution.low, distribution.high)  # type: ignore[attr-defined]


def _grid(distributions: Distributions, most: int) -> list[Params] | None:
    """Return all that can be tried, or None if that is more than so much."""
    values = [_values(each) for each in distributions.values()]
    finite = [each for each in values if each is not None]
    if len(finite) < len(values) or math.prod(map(len, finite)) > most:
        return None
    return [dict(zip(distributions, each, strict=True)) for each in product(*finite)]


def _identity(params: Params) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(params.items()))
