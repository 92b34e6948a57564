"""What a study found: which trial is best, the frozen file, and suites with tuned values."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
import yaml
from optuna.trial import TrialState, create_trial

from im_bench.errors import ImBenchError
from im_bench.planning.loading import load_suite, suite_path
from im_bench.planning.plan import make_plan
from im_bench.report.results import rows_of
from im_bench.tuning.session import Choices, define, make_task
from im_bench.tuning.storage import open_storage
from im_bench.tuning.study import open_study
from im_bench.tuning.trials import trial_name, with_params
from im_bench.tuning.tuned import (
    Tuned,
    find_tuned,
    freeze,
    read_frozen,
    tuned_of,
    tuned_suite,
    write_tuned_suite,
)

SUITE = suite_path("study-a-small")


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """A study of UniMatch with masks: own values 0.5, then 0.7 and 0.7 again, and a pruned 0.9."""
    return made(tmp_path, "unimatch+im")


def made(out: Path, method: str) -> optuna.Study:
    task = make_task(SUITE, method, out, out)
    storage = open_storage(str(out / "studies.journal"))
    study = open_study(storage, define(task, Choices(), "miou"), ["maximize"])
    own = task.space.defaults(task.method)
    assert own is not None
    trials = [(own, 0.5), ({**own, "unlabelled_weight": 2.0}, 0.7)]
    trials.append(({**own, "unlabelled_weight": 3.0}, 0.7))
    for params, value in trials:
        study.add_trial(
            create_trial(params=params, distributions=task.space.distributions(), value=value)
        )
    study.add_trial(
        create_trial(
            params={**own, "unlabelled_weight": 4.0},
            distributions=task.space.distributions(),
            state=TrialState.PRUNED,
            intermediate_values={1: 0.9},
        )
    )
    return study


def test_the_earliest_of_the_best_complete_trials_is_taken(study: optuna.Study) -> None:
    tuned = tuned_of(study)

    assert tuned.trial == 1
    assert tuned.score == (0.7,)
    assert tuned.default_score == (0.5,)
    assert tuned.values["unlabelled_weight"] == 2.0
    assert tuned.trials == {"complete": 3, "pruned": 1}


def test_a_study_without_complete_trials_has_found_nothing(tmp_path: Path) -> None:
    task = make_task(SUITE, "imas", tmp_path, tmp_path)
    storage = open_storage(str(tmp_path / "studies.journal"))
    study = open_study(storage, define(task, Choices(), "miou"), ["maximize"])

    with pytest.raises(ImBenchError, match="no complete trial yet"):
        tuned_of(study)


def test_frozen_values_are_read_as_they_were_written(study: optuna.Study, tmp_path: Path) -> None:
    tuned = tuned_of(study)
    path = freeze(tuned, tmp_path / "tuned")

    assert read_frozen(path) == tuned
    assert find_tuned(str(path), "nowhere") == tuned
    assert find_tuned(study.study_name, str(tmp_path / "studies.journal")) == tuned


def test_values_are_frozen_in_the_working_folder_and_found_there(
    study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tuned = tuned_of(study)

    assert freeze(tuned).absolute() == tmp_path / "tuned" / f"{tuned.study}.yaml"
    assert find_tuned(tuned.study, str(tmp_path / "no.journal")) == tuned


def test_a_frozen_file_is_a_config_that_another_can_build_upon(
    study: optuna.Study, tmp_path: Path
) -> None:
    from mmengine.config import Config

    path = freeze(tuned_of(study), tmp_path / "tuned")
    (tmp_path / "base.py").write_text("model = dict(method=dict(name='unimatch', cutmix=0.1))\n")
    (tmp_path / "mine.py").write_text(f"_base_ = ['base.py', 'tuned/{path.name}']\n")
    # A base may only be merged with others that say nothing of the same: the child says the rest.
    with pytest.raises(KeyError):
        Config.fromfile(tmp_path / "mine.py")
    (tmp_path / "mine.py").write_text(
        f"_base_ = 'tuned/{path.name}'\nmodel = dict(method=dict(name='unimatch', cutmix=0.1))\n"
    )

    method = Config.fromfile(tmp_path / "mine.py").model.method

    assert method.unlabelled_weight == 2.0
    assert method.name == "unimatch"
    assert not any(name.startswith("im") for name in method)


@pytest.mark.parametrize("text", ["tuned: 3", "model: {}", "", "tuned: {study: x}", "]"])
def test_a_broken_frozen_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(text)

    with pytest.raises(ImBenchError, match=r"x\.yaml"):
        read_frozen(tmp_path / "x.yaml")


def test_an_unknown_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match="unknown frozen study 'nix'"):
        find_tuned("nix", str(tmp_path / "studies.journal"))


def test_tuned_methods_take_the_place_of_others_or_stand_beside_them(
    study: optuna.Study, tmp_path: Path
) -> None:
    tuned = tuned_of(study)
    instead = tuned_suite(SUITE, [tuned])
    beside = tuned_suite(SUITE, [tuned], beside=True)

    assert "unimatch+im" not in instead.methods
    assert list(beside.methods).index("unimatch-tuned+im") == 1 + list(beside.methods).index(
        "unimatch+im"
    )
    path = write_tuned_suite(beside, SUITE, tmp_path)
    suite, methods = load_suite(path)
    assert getattr(methods["unimatch-tuned+im"], "unlabelled_weight", None) == 2.0
    assert suite.notes == (tuned.origin,)
    assert Path(str(suite.data["camvid"].folder)).is_absolute()


def test_a_tuned_row_is_an_addition_to_its_own_values(study: optuna.Study, tmp_path: Path) -> None:
    path = write_tuned_suite(tuned_suite(SUITE, [tuned_of(study)], beside=True), SUITE, tmp_path)
    rows = {row.method: row.base for row in rows_of(make_plan(path, tmp_path, tmp_path))}

    assert rows["unimatch-tuned+im"] == "unimatch+im"
    assert rows["unimatch+im"] == "unimatch"


def test_stages_of_methods_with_own_values_are_the_same_in_a_tuned_suite(
    study: optuna.Study, tmp_path: Path
) -> None:
    path = write_tuned_suite(tuned_suite(SUITE, [tuned_of(study)], beside=True), SUITE, tmp_path)

    def keys(suite: Path) -> dict[str, dict[int, str]]:
        return {c.method: c.finals for c in make_plan(suite, tmp_path, tmp_path).cells}

    own, tuned = keys(SUITE), keys(path)
    assert {name: tuned[name] for name in own} == own


def test_values_are_not_reported_on_the_seeds_that_chose_them(study: optuna.Study) -> None:
    tuned = tuned_of(study)

    with pytest.raises(ImBenchError, match="seed 1001 is one that study"):
        tuned_suite(SUITE, [tuned], seeds=[1, 1001])


def test_two_studies_of_one_method_are_refused(study: optuna.Study) -> None:
    tuned = tuned_of(study)

    with pytest.raises(ImBenchError, match="are both of 'unimatch\\+im'"):
        tuned_suite(SUITE, [tuned, tuned.model_copy(update={"study": "other"})])


def test_the_footer_names_study_data_seeds_and_budget(study: optuna.Study) -> None:
    origin = tuned_of(study).origin

    for part in ("unimatch-tuned+im", study.study_name, "4 trials", "camvid", "1001", "equal"):
        assert part in origin


def test_a_frozen_file_holds_plain_data(study: optuna.Study, tmp_path: Path) -> None:
    value = yaml.safe_load(freeze(tuned_of(study), tmp_path).read_text())

    assert Tuned.model_validate(value["tuned"]) == tuned_of(study)


@pytest.mark.parametrize("method", ["im", "fixmatch"])
def test_trials_with_the_same_values_are_made_of_the_same_trainings(
    method: str, tmp_path: Path
) -> None:
    task = make_task(suite_path("real-small"), method, tmp_path, tmp_path, data=["nuclei"])
    own = task.space.defaults(task.method) or {}

    cells = [
        cell
        for number in (1, 2)
        for cell in task.add_cells(
            {trial_name(method, number): with_params(task.method, method, own)}
        )
    ]

    first, second = (task.plan.graph[cell.finals[1001]].requires for cell in cells)
    assert first == second
