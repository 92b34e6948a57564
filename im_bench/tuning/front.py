"""The trials between which no number decides: the Pareto front of two objectives."""

from __future__ import annotations

from collections.abc import Iterable

from im_bench.tuning.study import TrialRecord


def front(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the trials than which none is better in both values, by rising second value.

    Args:
        records: Trials with two values, both maximised; those without any are passed over. Of
            several with the same values the first stands for all.
    """
    found: list[TrialRecord] = []
    complete = [record for record in records if record.values]
    for record in sorted(complete, key=lambda one: (-one.values[1], -one.values[0], one.number)):
        if not found or record.values[0] > found[-1].values[0]:
            found.append(record)
    return found[::-1]


def balance(record: TrialRecord) -> float:
    """Return the harmonic mean of a trial's two values, 0..1: small where either is."""
    first, second = record.values
    return 2 * first * second / (first + second) if first + second else 0.0
