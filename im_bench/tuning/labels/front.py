"""The trials between which no number decides: the Pareto front of quality and coverage."""

from __future__ import annotations

from collections.abc import Iterable

from im_bench.tuning.study import TrialRecord


def front(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the trials than which none is better in both values, by rising second value.

    Args:
        records: Trials with two values, both maximised; those without any, or that do not keep to
            the constraints, are passed over. Of several with the same values the first stands for
            all.
    """
    found: list[TrialRecord] = []
    complete = [record for record in records if record.values and record.feasible]
    for record in sorted(complete, key=lambda one: (-one.values[1], -one.values[0], one.number)):
        if not found or record.values[0] > found[-1].values[0]:
            found.append(record)
    return found[::-1]
