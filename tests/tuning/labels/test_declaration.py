from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from im_bench.errors import ImBenchError
from im_bench.methods.ranges import Choice
from im_bench.planning.plan import make_plan
from im_bench.schedules.base import Schedule
from im_bench.schedules.registry import schedule_class
from im_bench.suites.experiment import Experiment
from im_bench.tuning.labels.declaration import label_space, most_teachers, predict_stage
from im_bench.tuning.space import Space


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    suite = {
        "name": "tiny",
        "data": {"lesions": {"synth": {"like": "isic2018"}, "size": [32, 32]}},
        "methods": {"ldt": {}},
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(suite))
    plan = make_plan(path, tmp_path / "runs", tmp_path / "data", seeds=[1])
    data = next(stage for stage in plan.graph if stage.kind == "data")
    spec = plan.suite.data["lesions"]
    return Experiment(plan.graph, plan.suite, plan.budget, "lesions", data, spec, 1)


def method(name: str, **fields: Any) -> Schedule:
    return schedule_class(name)(**fields)


@pytest.mark.parametrize(
    ("name", "fields", "teachers", "candidates"),
    [
        ("im", {}, 4, 10),
        ("im", {"members": 3}, 3, 3),
        ("fixmatch", {"members": 2}, 1, 2),
        ("fixmatch", {"im": {}}, 3, 3),
    ],
)
def test_as_many_networks_predict_as_a_trial_can_have_teachers(
    name: str, fields: dict[str, Any], teachers: int, candidates: int, experiment: Experiment
) -> None:
    made = method(name, **fields)
    stage = predict_stage(name, made, experiment, label_space(made))
    assert stage.config == {"count": teachers}
    assert len(stage.inputs["candidates"]) == candidates
    assert all(experiment.graph[key].kind == "train" for key in stage.inputs["candidates"])


def test_teachers_that_are_not_searched_are_the_methods_own() -> None:
    made = method("im", teachers=3)
    assert most_teachers(made, Space({"erode": Choice((0, 3))})) == 3


def test_methods_without_knobs_and_with_too_few_teachers_are_refused(
    experiment: Experiment,
) -> None:
    with pytest.raises(ImBenchError, match=r"nothing of Model ensemble \(ME\) can be scored"):
        label_space(method("me"))
    made = method("im", members=3)
    with pytest.raises(ImBenchError, match="trains 3 candidates, but the search is for up to 5"):
        predict_stage("im", made, experiment, Space({"teachers": Choice((2, 5))}))
