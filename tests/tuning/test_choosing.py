"""Samplers and pruners, by their names."""

from __future__ import annotations

import optuna
import pytest

from im_bench.errors import ImBenchError
from im_bench.tuning.choosing import FIRST_TRIALS, PRUNERS, SAMPLERS, make_pruner, make_sampler

SPACE = {
    "x": optuna.distributions.FloatDistribution(0, 1),
    "k": optuna.distributions.IntDistribution(1, 4),
    "c": optuna.distributions.CategoricalDistribution(("a", "b")),
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def draws(name: str, seed: int, count: int = 14) -> list[dict[str, object]]:
    study = optuna.create_study(sampler=make_sampler(name, seed))
    found = []
    for _ in range(count):
        trial = study.ask(SPACE)
        found.append(dict(trial.params))
        study.tell(trial, trial.params["x"])
    return found


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.filterwarnings("error::optuna.exceptions.ExperimentalWarning")
def test_a_sampler_draws_the_same_with_the_same_seed(name: str) -> None:
    assert draws(name, 3) == draws(name, 3)
    assert draws(name, 3) != draws(name, 4)
    assert draws(name, 2**31 - 1, 2)


def test_workers_of_one_sequence_draw_different_points() -> None:
    study = optuna.create_study()
    found = []
    for _ in range(4):
        for worker in (make_sampler("qmc", 5), make_sampler("qmc", 5)):
            study.sampler = worker
            trial = study.ask(SPACE)
            found.append(trial.params.get("x"))
            study.tell(trial, 1.0)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.parametrize("validations", [1, 4, 20, 100])
@pytest.mark.parametrize("instances", [1, 6])
def test_no_pruner_gives_up_the_best(name: str, validations: int, instances: int) -> None:
    study = optuna.create_study(
        direction="maximize", pruner=make_pruner(name, validations, instances)
    )
    for height in range(1, 12):  # Each is better than all before.
        trial = study.ask()
        for step in range(1, validations + 1):
            trial.report(height * step, step)
            assert name == "hyperband" or not trial.should_prune()
        study.tell(trial, height * validations)


def test_the_median_waits_for_a_few_trials_and_gives_up_what_is_worse() -> None:
    study = optuna.create_study(direction="maximize", pruner=make_pruner("median", 10, 1))
    for number in range(FIRST_TRIALS + 1):
        trial = study.ask()
        pruned_at = None
        for step in range(1, 11):
            trial.report(float(-number), step)
            if trial.should_prune():
                pruned_at = step
                break
        if number < FIRST_TRIALS:
            assert pruned_at is None
            study.tell(trial, float(-number))
        else:
            assert pruned_at == 3, "the first quarter says nothing"


def test_unknown_names_are_told() -> None:
    with pytest.raises(ImBenchError, match="did you mean 'random'"):
        make_sampler("randon", 0)
    with pytest.raises(ImBenchError, match="did you mean 'hyperband'"):
        make_pruner("hyperbend", 10, 1)


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_what_a_trial_tries_depends_on_its_number_and_not_on_the_worker(name: str) -> None:
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}

    def values(workers: int) -> list[float]:
        study = optuna.create_study(direction="maximize")
        samplers = [make_sampler(name, 7) for _ in range(workers)]
        for number in range(16):
            study.sampler = samplers[number % workers]
            trial = study.ask(space)
            study.tell(trial, trial.params["x"])
        return [trial.params["x"] for trial in study.trials]

    one, three = values(1), values(3)
    assert one == three
    assert len(set(one)) == 16
