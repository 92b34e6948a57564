from __future__ import annotations

import optuna
from hypothesis import given
from hypothesis import strategies as st

from im_bench.tuning.labels.front import front
from im_bench.tuning.study import TrialRecord, TrialState

VALUES = st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])] * 2)


def record(number: int, *values: float) -> TrialRecord:
    return TrialRecord(number, TrialState.COMPLETE, {}, values)


@given(st.lists(VALUES, max_size=12))
def test_the_front_is_that_of_optuna(values: list[tuple[float, float]]) -> None:
    records = [record(number, *pair) for number, pair in enumerate(values)]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize"] * 2)
    study.add_trials([optuna.trial.create_trial(values=list(pair)) for pair in values])
    found = front(records)
    assert {one.values for one in found} == {tuple(one.values) for one in study.best_trials}
    assert [one.values[1] for one in found] == sorted({one.values[1] for one in found})
    for one in found:  # of equal ones the first
        assert one.number == values.index((one.values[0], one.values[1]))


def test_trials_without_values_are_passed_over() -> None:
    running = TrialRecord(0, TrialState.RUNNING, {})
    assert front([running, record(1, 0.5, 0.5)]) == [record(1, 0.5, 0.5)]


def test_trials_that_do_not_keep_to_the_constraints_are_passed_over() -> None:
    better = TrialRecord(0, TrialState.COMPLETE, {}, (0.9, 0.9), feasible=False)
    assert front([better, record(1, 0.5, 0.5)]) == [record(1, 0.5, 0.5)]
