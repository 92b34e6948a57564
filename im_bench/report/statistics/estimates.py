"""Statistics of scores: pure functions on arrays that know no suite, file or unit.

A task is a data set with its split. ``tasks`` is a sequence with one array per task, whose last
axis is its runs (seeds); tasks may differ in their number of runs. Scores must be finite, and those
of several tasks comparable: see :func:`min_max` and :func:`relative_to`. Greater is better unless
``higher`` says otherwise. The ideas are those of Agarwal et al. 2021 (``rliable``), with intervals
for fewer runs: see ``docs/statistics.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, log2, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Tasks = Sequence[Scores]
#: Takes the tasks as arguments; reduces their last axes to one.
Statistic = Callable[..., Any]

LEVEL = 0.95
DRAWS = 10_000
#: A bootstrap from fewer runs of a task misses the truth too often, whatever its level.
RUNS_NEEDED = 3
EXACT_UP_TO = 13


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, which is None where no honest one can be given."""

    value: float
    interval: tuple[float, float] | None = None


def paired_differences(first: Scores, second: Scores, higher: bool) -> Scores:
    """Return by how much the first is better than the second, run by run.

    Args:
        first: Scores of shape (..., runs).
        second: Scores of the same seeds.
        higher: Whether a greater score is a better one.
    """
    return (first - second) if higher else (second - first)


def relative_differences(first: Scores, second: Scores, higher: bool) -> Scores:
    """Return paired differences as shares of the mean size of all scores of the task.

    Symmetric in the two but for the sign, and without a unit, so that IoU and MCCE can be averaged.
    All are 0 where all scores are.
    """
    scale = (abs(first.mean()) + abs(second.mean())) / 2
    differences = paired_differences(first, second, higher)
    return differences / scale if scale else np.zeros_like(differences)


def min_max(scores: Scores, higher: bool) -> Scores:
    """Return scores of a task such that its worst method's mean is 0 and its best one's is 1.

    Args:
        scores: Of shape (methods, runs). Single runs may fall outside 0..1. All are 0.5 where the
            means are equal.
        higher: Whether a greater score is a better one.
    """
    signed = scores if higher else -scores
    means = signed.mean(-1)
    spread = means.max() - means.min()
    # Equal numbers may have means that differ in the last bit.
    if spread <= 1e-12 * abs(means).max():
        return np.full_like(signed, 0.5)
    return np.asarray((signed - means.min()) / spread)


def relative_to(scores: Scores, baseline: int, higher: bool) -> Scores:
    """Return scores of a task as gains over a method's mean: 0.05 is 5 % better than it.

    Args:
        scores: Of shape (methods, runs).
        baseline: Position of that method; its mean must not be 0.
        higher: Whether a greater score is a better one.
    """
    base = scores[baseline].mean()
    return np.asarray(paired_differences(scores, base, higher) / abs(base))


def task_mean(*tasks: Scores) -> Any:
    """Return the mean over tasks of the mean over runs: each task counts the same."""
    return np.mean([task.mean(-1) for task in tasks], axis=0)


def interquartile_mean(*tasks: Scores) -> Any:
    """Return the mean of the middle half of all runs of all tasks."""
    from scipy.stats import trim_mean

    return trim_mean(np.concatenate(tasks, axis=-1), 0.25, axis=-1)


def probability_of_improvement(*tasks: Scores) -> Any:
    """Return how likely a run of the first method beats one of the second, averaged over tasks.

    It is the Mann-Whitney U of each task over its number of pairs; equal runs count as half.

    Args:
        tasks: Each of shape (2, ..., runs): the two methods.
    """
    return np.mean([_superiority(*task) for task in tasks], axis=0)


def _superiority(first: Scores, second: Scores) -> Any:
    difference = first[..., :, None] - second[..., None, :]
    return ((1 + np.sign(difference)) / 2).mean((-2, -1))


def mean_ranks(*tasks: Scores) -> Any:
    """Return each method's rank by its mean, 1 for the best, averaged over tasks.

    Args:
        tasks: Each of shape (methods, ..., runs). Equal means share their average rank.
    """
    from scipy.stats import rankdata

    return np.mean([rankdata(-task.mean(-1), axis=0) for task in tasks], axis=0)


def performance_profile(taus: Scores, *tasks: Scores) -> Any:
    """Return the share of runs with a score of at least tau, averaged over tasks.

    Args:
        taus: Thresholds of shape (taus,).
        tasks: Each of shape (..., runs).

    Returns:
        Shares of shape (taus, ...).
    """
    above = [(task >= taus.reshape(-1, *[1] * task.ndim)).mean(-1) for task in tasks]
    return np.mean(above, axis=0)


def interval_problem(sizes: Sequence[int]) -> str:
    """Return why runs (or pairs) of these numbers per task give no interval, or an empty string."""
    if min(sizes) < RUNS_NEEDED:
        return f"at least {RUNS_NEEDED} seeds of each task are needed"
    if sum(sizes) < pairs_needed():
        return f"at least {pairs_needed()} seeds in all are needed"
    return ""


def estimate(statistic: Statistic, tasks: Tasks, seed: int = 0) -> Estimate:
    """Return a statistic that is one number, with its interval: see :func:`estimates`."""
    return estimates(statistic, tasks, seed)[0]


def estimates(statistic: Statistic, tasks: Tasks, seed: int = 0) -> list[Estimate]:
    """Return the numbers of a statistic with their intervals: see :func:`bootstrap_intervals`.

    An interval without width is none: if no draw changes the number, runs are few or do not
    overlap, and how sure it is cannot be seen from them.
    """
    values = np.atleast_1d(statistic(*tasks)).tolist()
    found = bootstrap_intervals(statistic, tasks, seed)
    if found is None:
        return [Estimate(value) for value in values]
    limits = (np.atleast_1d(limit).tolist() for limit in found)
    return [
        Estimate(value, (low, high) if high > low else None)
        for value, low, high in zip(values, *limits, strict=True)
    ]


def bootstrap_intervals(
    statistic: Statistic, tasks: Tasks, seed: int = 0
) -> tuple[Scores, Scores] | None:
    """Return the limits of 95 % intervals by the stratified bootstrap over the runs of each task.

    Runs are drawn with replacement within each task, all methods' together, so that pairs stay
    pairs. The intervals are expanded percentile intervals (Hesterberg 2015): plain ones from n runs
    are too narrow by sqrt((n - 1) / n) and know nothing of Student's t. They always hold the value.

    Args:
        statistic: Reduces the last axis of each task; may return several numbers.
        tasks: Arrays of shape (..., runs).
        seed: Of the draws, of which there are 10,000.

    Returns:
        Lower and upper limits, or None: see :func:`interval_problem`.
    """
    from scipy.stats import bootstrap

    sizes = [task.shape[-1] for task in tasks]
    if interval_problem(sizes):
        return None

    def of_drawn(*drawn: NDArray[np.int64], axis: int) -> Any:
        return statistic(*(task[..., runs] for task, runs in zip(tasks, drawn, strict=True)))

    limits = bootstrap(
        [np.arange(size) for size in sizes],
        of_drawn,
        n_resamples=DRAWS,
        batch=1000,
        vectorized=True,
        confidence_level=_expanded_level(sizes),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    value = statistic(*tasks)
    return np.minimum(limits.low, value), np.maximum(limits.high, value)


def _expanded_level(sizes: Sequence[int]) -> float:
    """Return the level at which a percentile interval is as wide as Student's."""
    from scipy.stats import norm, t

    runs, freedom = sum(sizes), sum(sizes) - len(sizes)
    z = t.ppf((1 + LEVEL) / 2, freedom) * sqrt(runs / freedom)
    return float(2 * norm.cdf(z) - 1)


def student_estimate(values: Scores) -> Estimate:
    """Return the mean of one task's paired differences with Student's 95 % interval.

    Args:
        values: Of shape (pairs,), at least one. Of a single one there is no interval.
    """
    from scipy.stats import t

    mean, n = float(values.mean()), len(values)
    if n < 2:
        return Estimate(mean)
    half = float(t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / sqrt(n))
    return Estimate(mean, (mean - half, mean + half))


def pairs_needed(comparisons: int = 1, alpha: float = 0.05) -> int:
    """Return the number of pairs from which a sign-flip test can reach ``alpha`` at all.

    With n pairs the smallest two-sided p is 2 / 2^n; the first of Holm's comparisons must reach
    ``alpha / comparisons``.
    """
    return ceil(log2(2 * comparisons / alpha))


def sign_flip_p(tasks: Tasks, seed: int = 0) -> float:
    """Return the two-sided p of paired differences, if the sign of each were a coin's.

    The statistic is :func:`task_mean`. Up to 13 pairs it is exact: all 2^n signs are tried; beyond
    that 10,000 are drawn.

    Args:
        tasks: Paired differences of shape (pairs,) per task; two pairs at least.
        seed: Of the draws.
    """
    from scipy.stats import permutation_test

    weights = np.concatenate([np.full(len(task), 1 / len(task)) for task in tasks])
    weighted = np.concatenate(list(tasks)) * weights / len(tasks)
    test = permutation_test(
        (weighted, np.zeros_like(weighted)),
        lambda a, b, axis=-1: (a - b).sum(axis),
        permutation_type="samples",
        n_resamples=2**EXACT_UP_TO if len(weighted) <= EXACT_UP_TO else DRAWS,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(p) for p in corrected]
