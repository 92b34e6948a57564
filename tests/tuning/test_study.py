"""What identifies a study, and how its trials are told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from im_bench.errors import ImBenchError
from im_bench.tuning.storage import StudyStorage, open_storage
from im_bench.tuning.study import (
    DEFINITION,
    FAILURE,
    PRUNED_AT,
    SURPLUS,
    Definition,
    TrialState,
    check_name,
    load_study,
    open_study,
    records_of,
)

DEFINED = Definition(
    suite="tiny", budget="equal", method="u2pl+im", data=("a", "b"), seeds=(1001,),
    objective="training", metric="iou", space={"ema": "0.9 to 0.99"}, fields={"ema": 0.99},
    protocol="0" * 64, sampler="tpe", pruner="median",
)  # fmt: skip


@pytest.fixture
def storage(tmp_path: Path) -> StudyStorage:
    return open_storage(str(tmp_path / "studies"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("suite", "other"), ("budget", "paper"), ("method", "u2pl"), ("data", ("a",)),
        ("seeds", (1001, 1002)), ("metric", "dice"), ("space", {"ema": "0.9 to 0.999"}),
        ("fields", {"ema": 0.9}), ("protocol", "1" * 64), ("sampler", "qmc"), ("pruner", "none"),
        ("hold_out", 0.2),
    ],
)  # fmt: skip
def test_whatever_differs_makes_another_study(storage: StudyStorage, name: str, value: Any) -> None:
    other = replace(DEFINED, **{name: value})
    assert other.name != DEFINED.name
    open_study(storage, DEFINED, ["maximize"], "same")
    with pytest.raises(ImBenchError, match=f"is another one \\({name} .* --study"):
        open_study(storage, other, ["maximize"], "same")
    assert len(open_study(storage, DEFINED, ["maximize"], "same").trials) == 0


def test_a_study_has_a_name_that_a_file_can_have_and_is_found_by_it(storage: StudyStorage) -> None:
    check_name(DEFINED.name)
    assert re.fullmatch(r"u2pl-im-a-b-[0-9a-f]{8}", DEFINED.name)
    made = open_study(storage, DEFINED, ["maximize"], first={"x": 1.0})
    assert made.study_name == DEFINED.name
    assert Definition.read(load_study(storage, DEFINED.name)) == DEFINED
    assert [record.state for record in records_of(made)] == [TrialState.WAITING]
    again = open_study(storage, DEFINED, ["maximize"], first={"x": 1.0})
    assert len(again.trials) == 1, "the method's own values are tried once"


def test_studies_of_others_and_unknown_ones_are_told(storage: StudyStorage) -> None:
    with pytest.raises(ImBenchError, match="holds no study"):
        load_study(storage, "nosuch")
    for name, value in {"none": None, "list": [1], "old": {"data": [], "seeds": []}}.items():
        study = optuna.create_study(study_name=name, storage=storage.optuna)
        if value is not None:
            study.set_user_attr(DEFINITION, value)
            with pytest.raises(ImBenchError, match="was not made by `im-bench tune`"):
                load_study(storage, name)
    with pytest.raises(ImBenchError, match="did you mean 'none'"):
        load_study(storage, "nnone")


@pytest.mark.parametrize("name", ["", "A", "a b", "../a", "a/b", "-a", "é", "a\n"])
def test_names_that_no_file_should_have_are_refused(name: str) -> None:
    with pytest.raises(ImBenchError, match="--study"):
        check_name(name)


def test_records_tell_what_became_of_trials(storage: StudyStorage) -> None:
    study = open_study(storage, DEFINED, ["maximize"])
    complete, pruned, failed, surplus, running = (study.ask() for _ in range(5))
    complete.report(0.25, 1)
    study.tell(complete, 0.5)
    pruned.report(0.1, 1)
    pruned.set_user_attr(PRUNED_AT, "at step 1 of 6")
    study.tell(pruned, state=optuna.trial.TrialState.PRUNED)
    failed.set_user_attr(FAILURE, "it broke")
    surplus.set_user_attr(SURPLUS, True)
    for one in (failed, surplus):
        study.tell(one, state=optuna.trial.TrialState.FAIL)
    found = records_of(study)
    assert [(one.state.value, one.reason, one.values, one.counts) for one in found] == [
        ("complete", "", (0.5,), True),
        ("pruned", "at step 1 of 6", (), True),
        ("failed", "it broke", (), True),
        ("surplus", "came after the last one", (), False),
        ("running", "", (), True),
    ]
    assert found[0].curve == {1: 0.25}
    assert running.number == found[4].origin == 4
