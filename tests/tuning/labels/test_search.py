from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import TrialState

from im_bench.data.predictions import describe_predictions, new_predictions
from im_bench.errors import ImBenchError
from im_bench.files import write_json
from im_bench.tuning.labels.balance import balance
from im_bench.tuning.labels.knobs import Knobs
from im_bench.tuning.labels.scorer import LabelScorer, Score
from im_bench.tuning.labels.search import (
    BATCH,
    search,
    tune_labels,
)

from .conftest import best, front_of, make_data

THRESHOLD = {"threshold": FloatDistribution(0.0, 0.99)}
MASKS = {
    "im.teachers": CategoricalDistribution((2, 3)),
    "im.erode": CategoricalDistribution((0, 3, 5)),
    "im.dilate": IntDistribution(0, 4, step=2),
}
OWN = {"labels": "own", "threshold": 0.95, "im.teachers": 2, "im.erode": 0, "im.dilate": 0}


@pytest.fixture(params=["journal", "database"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A way to open the same storage again, as another process does."""
    if request.param == "database":
        return lambda: f"sqlite:///{tmp_path / 'studies.db'}"
    return lambda: JournalStorage(JournalFileBackend(str(tmp_path / "studies.journal")))


def new_study(storage: Any = None) -> Study:
    return optuna.create_study(
        study_name="labels",
        storage=storage,
        directions=["maximize", "maximize"],
        load_if_exists=True,
    )


class Arc:
    """Scores that lie on an arc of which the threshold is the angle; counts its calls."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, trials: Iterable[Any]) -> list[Score]:
        thresholds = [params["threshold"] for params in trials]
        self.batches.append(len(thresholds))
        return [Score(t, (1 - t * t) ** 0.5, 0.5) for t in thresholds]


def finished(study: Study) -> list[Any]:
    return study.get_trials(states=(TrialState.COMPLETE,))


def test_a_study_goes_on_where_it_stopped(storage: Any) -> None:
    told: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        told.append((done, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(new_study(storage()), THRESHOLD, Arc(), 120, stop)
    assert told == [(BATCH, 120)]
    before = {trial.number: trial.params for trial in finished(new_study(storage()))}
    assert len(before) == BATCH

    score = Arc()
    search(new_study(storage()), THRESHOLD, score, 120, lambda *step: told.append(step))
    assert told[1:] == [(100, 120), (120, 120)]
    assert score.batches == [BATCH, 20]
    trials = finished(new_study(storage()))
    assert len(trials) == 120
    assert before.items() <= {trial.number: trial.params for trial in trials}.items()
    assert len({trial.params["threshold"] for trial in trials}) > 100
    # The second batch are children of the first: crossed and mutated, no longer drawn at random.
    assert max(trial.system_attrs.get("NSGAIISampler:generation", -1) for trial in trials) == 2
    search(new_study(storage()), THRESHOLD, score, 120)
    assert len(finished(new_study(storage()))) == 120


def test_what_a_dead_process_left_is_failed_and_what_is_queued_is_made(storage: Any) -> None:
    study = new_study(storage())
    study.ask(THRESHOLD)
    study.enqueue_trial({"threshold": 0.6})
    search(new_study(storage()), THRESHOLD, Arc(), 3)
    left, queued, *others = new_study(storage()).trials
    assert left.state is TrialState.FAIL
    assert queued.state is TrialState.COMPLETE
    assert (queued.params["threshold"], queued.values) == (0.6, [0.6, 0.8])
    assert queued.user_attrs == {"accuracy": 0.5}
    assert [trial.state for trial in others] == [TrialState.COMPLETE] * 2


def test_what_is_small_enough_is_tried_once_and_completely() -> None:
    def score(trials: Iterable[Any]) -> list[Score]:
        return [Score(0.1 * each["im.teachers"], 0.5, 0.5) for each in trials]

    study, told = new_study(), []
    search(study, MASKS, score, 7)
    search(study, MASKS, score, 1000, lambda *step: told.append(step))
    tried = [tuple(sorted(trial.params.items())) for trial in finished(study)]
    assert len(set(tried)) == 2 * 3 * 3
    assert told == [(len(tried), len(tried))]
    assert len(tried) - len(set(tried)) == 7 - len(set(tried[:7]))
    search(study, MASKS, score, 1000)
    assert len(finished(study)) == len(tried)


def test_the_front_is_what_nothing_beats_and_the_best_is_high_in_both() -> None:
    values = [(0.9, 0.1), (0.5, 1.0), (0.8, 0.7), (0.4, 1.0), (0.8, 0.7), (0.85, 0.6), (0.7, 0.65)]
    study = new_study()
    for quality, coverage in values:
        study.tell(study.ask(), [quality, coverage])
    assert [tuple(trial.values) for trial in front_of(study)] == [
        (0.9, 0.1),
        (0.85, 0.6),
        (0.8, 0.7),
        (0.5, 1.0),
    ]
    found = best(study)
    assert found is not None
    assert found.number == 2
    assert balance(*found.values) == pytest.approx(2 * 0.8 * 0.7 / 1.5)
    nothing = new_study()
    assert best(nothing) is None
    nothing.tell(nothing.ask(), [0.0, 0.0])
    found = best(nothing)
    assert found is not None
    assert balance(*found.values) == 0


class Space:
    def __init__(self, **distributions: Any) -> None:
        self._distributions = distributions

    def distributions(self) -> Any:
        return self._distributions


@pytest.fixture
def stages(tmp_path: Path) -> tuple[Path, Path]:
    """What the data and the predict stage leave: arrays, and the folder of the predictions."""
    data = make_data("multiclass")
    arrays, folder = tmp_path / "data" / "arrays", tmp_path / "predictions"
    write_json(arrays / "meta.json", data.meta)
    np.save(arrays / "val_labels.npy", data.truth)
    np.save(arrays / "val_images.npy", np.zeros((*data.truth.shape, 3), np.uint8))
    with new_predictions(folder, data.probabilities.shape) as probabilities:
        probabilities[:] = data.probabilities
    describe_predictions(folder, [f"member{k}" for k in range(4)], "val")
    return arrays, folder


def test_trials_are_what_the_method_would_do_with_their_values(stages: tuple[Path, Path]) -> None:
    study = new_study()
    tune_labels(study, Space(**THRESHOLD, **MASKS), *stages, OWN, 60, "cpu")
    scorer = LabelScorer(*make_data("multiclass"), "own")
    trials = finished(study)
    assert len(trials) == 60
    for trial in trials:
        names = {name.removeprefix("im."): value for name, value in trial.params.items()}
        (score,) = scorer.score([Knobs(**names)])
        assert (*trial.values, trial.user_attrs["accuracy"]) == score
    assert len(front_of(study)) > 3


def test_fields_that_are_not_searched_are_the_methods_own(stages: tuple[Path, Path]) -> None:
    study = new_study()
    fields = {**OWN, "threshold": 0.7, "im.dilate": 3}
    tune_labels(study, Space(**{"im.erode": MASKS["im.erode"]}), *stages, fields, 60, "cpu")
    scorer = LabelScorer(*make_data("multiclass"), "own")
    expected = scorer.score([Knobs(0.7, 2, erode, 3) for erode in (0, 3, 5)])
    assert {tuple(trial.values) for trial in study.trials} == {each[:2] for each in expected}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"eta": FloatDistribution(0, 1)}, "'eta' decides nothing about this method's"),
        ({}, "nothing to search for"),
        ({"im.teachers": IntDistribution(2, 5)}, "5 teachers cannot be chosen among 4"),
        ({"im.erode": IntDistribution(0, 400)}, "'erode' must lie within 0 and 255"),
    ],
)
def test_a_space_that_does_not_fit_is_refused_before_the_first_trial(
    space: dict[str, Any], message: str, stages: tuple[Path, Path]
) -> None:
    study = new_study()
    with pytest.raises(ImBenchError, match=message):
        tune_labels(study, Space(**space), *stages, OWN, 60, "cpu")
    assert not study.trials


def test_a_study_of_something_else_is_refused() -> None:
    study = optuna.create_study(study_name="one", direction="maximize")
    with pytest.raises(ImBenchError, match="'one' does not maximise quality and coverage"):
        search(study, THRESHOLD, Arc(), 3)


def test_what_covers_too_little_is_never_the_best() -> None:
    study = new_study()

    search(study, THRESHOLD, Arc(), 60, seed=1, min_coverage=0.9)

    found = best(study)
    assert found is not None
    assert found.values[1] >= 0.9
    assert any(trial.values[1] < 0.9 for trial in study.trials)
    assert all(trial.values[1] >= 0.9 for trial in front_of(study))
