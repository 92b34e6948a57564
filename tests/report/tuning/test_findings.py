from __future__ import annotations

import pytest

from im_bench.report.tuning.findings import findings, worth_showing
from im_bench.report.tuning.importances import FEWEST
from im_bench.tuning.labels.balance import balance
from im_bench.tuning.storage import StudyStorage
from im_bench.tuning.study import TrialState
from im_bench.tuning.tuned import tuned_of

from .studies import OWN, add, begin, labelled, lose_one, spread, trained


def test_trials_by_what_became_of_them(storage: StudyStorage) -> None:
    study = trained(storage)
    lost = lose_one(storage, study)
    found = findings(study, storage.name)
    assert found.counts == {
        TrialState.WAITING: 1,
        TrialState.COMPLETE: 3,
        TrialState.PRUNED: 2,
        TrialState.FAILED: 1,
        TrialState.LOST: 1,
        TrialState.SURPLUS: 1,
    }
    assert found.records[lost].reason == f"its worker ended; trial {lost + 1} goes on for it"


def test_the_best_beside_the_methods_own_values(storage: StudyStorage) -> None:
    found = findings(trained(storage), storage.name)
    assert found.best is not None
    assert (found.best.number, found.best.values) == (3, (0.625,))
    assert found.own is not None
    assert (found.own.number, found.own.values) == (0, (0.5,))
    assert [(one.name, one.scale, one.default) for one in found.fields] == [
        ("threshold", "linear", 0.95),
        ("weight", "log", 1.0),
        ("im.erode", "whole", 0),
        ("mode", "choice", "hard"),
    ]
    assert list(found.best_so_far.values()) == [0.5, 0.5, 0.5, 0.625, 0.625, 0.625, 0.625]


def test_of_errors_the_lowest_is_the_best(storage: StudyStorage) -> None:
    study = begin(storage, "cells", metric="mcce")
    for value in (12.0, 7.0, 9.0):
        add(study, value)
    found = findings(study, storage.name)
    assert found.best is not None
    assert found.best.values == (7.0,)
    assert list(found.best_so_far.values()) == [12.0, 7.0, 7.0]
    assert found.objectives == ("MCCE",)


def test_own_values_that_were_pruned_or_never_tried(storage: StudyStorage) -> None:
    study = begin(storage, "one")
    add(study, state="PRUNED", pruned="at step 1 of 8, iou 0.1000")
    add(study, 0.4, params={"threshold": 0.5})
    found = findings(study, storage.name)
    assert found.own is not None
    assert found.own.state is TrialState.PRUNED
    outside = begin(storage, "two")
    add(outside, 0.4, params={"threshold": 0.5})
    found = findings(outside, storage.name)
    assert (found.own, found.own_pending) == (None, False)
    waiting = begin(storage, "three")
    waiting.enqueue_trial(dict(OWN))
    found = findings(waiting, storage.name)
    assert (found.own, found.own_pending) == (None, True)
    assert lose_one(storage, waiting) == 0
    again = findings(waiting, storage.name).own  # the trial that goes on for the lost one
    assert again is not None
    assert (again.number, again.state) == (1, TrialState.WAITING)


def test_what_decides_is_important_and_what_does_not_is_not(storage: StudyStorage) -> None:
    found = findings(spread(storage, 60), storage.name)
    shares = found.importances.shares
    assert next(iter(shares)) == "threshold"
    assert shares["threshold"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert found.importances.good == pytest.approx(0.1)


def test_importances_need_trials_that_differ(storage: StudyStorage) -> None:
    few = findings(spread(storage, FEWEST - 1, "few"), storage.name).importances
    assert few.shares == {}
    assert few.problem.endswith(f"takes {FEWEST} complete trials; so far there are {FEWEST - 1}")
    assert findings(spread(storage, FEWEST, "enough"), storage.name).importances.problem == ""
    equal = begin(storage, "equal")
    for k in range(FEWEST):
        add(equal, 0.5, params={"threshold": k / 20})
    assert "the same value" in findings(equal, storage.name).importances.problem


def test_two_objectives_have_a_front(storage: StudyStorage) -> None:
    study = labelled(storage)
    found = findings(study, storage.name)
    assert {one.number for one in found.front} == {trial.number for trial in study.best_trials}
    assert found.best in found.front
    assert found.best is max(found.complete, key=lambda one: balance(*one.values))
    assert found.best is not max(found.complete, key=lambda one: one.values[0])
    assert found.best is not None
    assert tuned_of(study).trial == found.best.number  # what is shown is what is frozen
    assert found.objectives == ("quality", "coverage")
    assert set(found.importances.shares) == set(OWN)


def test_the_trials_that_tell_the_most(storage: StudyStorage) -> None:
    found = findings(spread(storage, 60), storage.name)
    shown = [one.number for one in worth_showing(found)]
    assert shown == sorted(shown)
    assert {one.number for one in found.ranked[:5]} | set(range(50, 60)) == set(shown)
