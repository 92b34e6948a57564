"""Methods: the stages that each asks for."""

from __future__ import annotations

from typing import Any

import pytest

from im_bench.errors import ImBenchError
from im_bench.methods import known_methods
from im_bench.methods.registry import BUILT_IN
from im_bench.planning.loading import load_suite
from im_bench.planning.plan import Plan
from im_bench.schedules.registry import schedule_class
from im_bench.suites.experiment import Experiment
from im_bench.suites.graph import Coordinates, Stage
from im_bench.tuning.space import declared_space

from .conftest import Make


def only(plan: Plan, kind: str) -> list[Stage]:
    return [stage for stage in plan.graph if stage.kind == kind]


@pytest.fixture
def small(make: Make) -> Any:
    """Make the plan of one method on one data set with one seed."""

    def small(**methods: Any) -> Plan:
        return make({"data": ["lesions"], "seeds": [1]}, methods=methods)

    return small


def test_all_methods_have_a_title_and_a_source() -> None:
    assert set(known_methods()) >= set(BUILT_IN)
    classes = [schedule_class(name) for name in BUILT_IN]
    assert len({each.title for each in classes}) == len(classes)
    assert all(each.source for each in classes)
    with pytest.raises(ImBenchError, match="unknown method 'lddt': did you mean 'ldt'"):
        schedule_class("lddt")


@pytest.mark.parametrize(
    ("name", "part", "copies"),
    [("ldt", "labelled", 1), ("aldt", "labelled", 10), ("fdt", "all", 1), ("afdt", "all", 10)],
)
def test_references_differ_in_labels_and_copies(
    small: Any, name: str, part: str, copies: int
) -> None:
    plan = small(**{name: {"members": 2}})
    trained = only(plan, "train")
    assert [(s.config["part"], s.config["copies"]) for s in trained] == [(part, copies)] * 2
    assert all((s.config["augmentation"] is not None) == (copies > 1) for s in trained)
    assert trained[0].config["seed"] != trained[1].config["seed"]
    (scores,) = only(plan, "evaluate")
    assert scores.inputs["generation-1"] == tuple(stage.key for stage in trained)


def test_generations_hang_together(small: Any) -> None:
    plan = small(im={"members": 3, "teachers": 2, "students": 2, "generations": 2})
    by_name = {stage.slug.split("/", 3)[-1]: stage for stage in plan.graph}
    members = tuple(by_name[f"ldt/member{i}"].key for i in (1, 2, 3))
    first = tuple(by_name[f"im/g1-student{i}"].key for i in (1, 2))
    second = tuple(by_name[f"im/g2-student{i}"].key for i in (1, 2))
    assert by_name["im/g1-labels"].inputs["candidates"] == members
    assert by_name["im/g2-labels"].inputs["candidates"] == first
    for g, students in ((1, first), (2, second)):
        for key in students:
            assert plan.graph[key].inputs["pseudo"] == (by_name[f"im/g{g}-labels"].key,)
            assert plan.graph[key].config["part"] == "labelled"
    scores = by_name["im/scores"]
    assert scores.inputs["generation-1"] == first
    assert scores.inputs["generation-2"] == second
    assert scores.inputs["labels-2"] == (by_name["im/g2-labels"].key,)


def test_the_ensemble_differs_from_inconsistency_masks_in_the_labels_alone(small: Any) -> None:
    sizes = {"members": 2, "students": 2, "generations": 2}
    plan = small(me=sizes, im=sizes)
    stages = {stage.slug.split("/", 3)[-1]: stage for stage in plan.graph}
    for name, stage in stages.items():
        if not name.startswith("im/"):
            continue
        other = stages[name.replace("im/", "me/")]
        ours, theirs = dict(stage.config), dict(other.config)
        if stage.kind == "pseudo-label":
            assert (ours["mode"], theirs["mode"]) == ("im", "ensemble")
            assert ours["teachers"] == theirs["teachers"]
        else:
            ours.pop("seed", None)
            theirs.pop("seed", None)
            assert ours == theirs


def test_every_field_of_inconsistency_masks_reaches_the_labels(small: Any) -> None:
    fields = {
        "erode": 3,
        "dilate": 5,
        "block_input": False,
        "block_output": False,
        "blocked_label": "ignored",
        "image_filter": "none",
    }
    (usual,) = only(small(im={"generations": 1}), "pseudo-label")
    for name, value in fields.items():
        (changed,) = only(small(im={"generations": 1, name: value}), "pseudo-label")
        assert changed.config[name] == value
        assert changed.key != usual.key
        assert {**changed.config, name: usual.config[name]} == usual.config


def test_a_variant_shares_the_members_and_has_stages_of_its_own(small: Any) -> None:
    sizes = {"members": 3, "students": 3, "generations": 1}
    plan = small(im=sizes, **{"im-3": {"method": "im", "teachers": 3, **sizes}})
    assert len(only(plan, "train")) == 3 + 3 + 3
    assert [cell.method for cell in plan.cells] == ["im", "im-3"]


def test_teachers_are_the_trainings_that_the_method_itself_begins_with(small: Any) -> None:
    methods = {
        "im": {"members": 3},
        "fixmatch": {"members": 2},
        "fixmatch+im": {},
        "mild": {"method": "fixmatch", "threshold": 0.5},
    }
    plan = small(**methods)
    _, built = load_suite(plan.path)
    spec = plan.suite.data["lesions"]
    (data,) = only(plan, "data")
    experiment = Experiment(plan.graph, plan.suite, plan.budget, "lesions", data, spec, 1)
    before = len(plan.graph)
    teachers = {name: built[name].teacher_stages(name, experiment) for name in methods}
    assert len(plan.graph) == before, "they are stages that the plan has already"
    assert [len(stages) for stages in teachers.values()] == [3, 2, 3, 1]
    (labels,) = [s for s in only(plan, "pseudo-label") if s.slug.endswith("/im/g1-labels")]
    assert tuple(stage.key for stage in teachers["im"]) == labels.inputs["candidates"]
    assert teachers["fixmatch+im"][:2] == teachers["fixmatch"]
    assert teachers["mild"][0].config["method"]["threshold"] == 0.5

    predicted = experiment.predict(Coordinates("predictions", method="im"), teachers["im"], 2)
    assert (predicted.kind, predicted.config) == ("predict", {"count": 2})
    assert predicted.inputs == {"data": (data.key,), "candidates": labels.inputs["candidates"]}


def test_methods_without_teachers_say_so(small: Any) -> None:
    plan = small(ldt={"members": 2})
    with pytest.raises(ImBenchError, match=r"'ldt' .* has no teachers"):
        schedule_class("ldt")().teacher_stages("ldt", Experiment.__new__(Experiment))
    assert not schedule_class("ldt")().label_ranges()
    assert only(plan, "train")


def ranges(name: str, **fields: Any) -> dict[str, str]:
    """Return what is searched for without training by a method with these fields, as text."""
    method = schedule_class(name.removesuffix("+im"))(**fields)
    if name.endswith("+im"):
        method = method.masked()  # type: ignore[attr-defined]
    assert set(method.label_ranges()) <= set(method.label_fields())
    if not method.label_ranges():
        return {}
    return declared_space(method, method.label_ranges()).describe()


MASKS = {"im.teachers": "2, 3", "im.erode": "0, 3, 5", "im.dilate": "0, 3, 5"}


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("me", {}, {}),
        ("u2pl", {}, {}),
        ("fpl", {}, {}),
        ("fixmatch", {}, {"threshold": "0 to 0.99"}),
        ("unimatch", {}, {"threshold": "0 to 0.99"}),
        ("imas", {}, {"threshold": "0.5 to 0.99"}),
        ("crossmatch", {}, {"threshold": "0 to 0.99"}),
        ("crossmatch", {"threshold_schedule": "rising"}, {}),
        ("supervised+im", {}, MASKS),
        ("fixmatch+im", {}, MASKS),
        ("fixmatch", {"im": {"labels": "own"}}, {"threshold": "0 to 0.99", **MASKS}),
        (
            "fixmatch",
            {"im": {"labels": "own", "block_output": False}},
            {"threshold": "0 to 0.99"},
        ),
        ("fixmatch", {"im": {"block_output": False}}, {}),
        ("fixmatch", {"im": {"members": 4}}, {**MASKS, "im.teachers": "2, 3, 4"}),
    ],
)
def test_only_what_decides_about_pseudo_labels_is_searched_without_training(
    name: str, fields: dict[str, Any], expected: dict[str, str]
) -> None:
    assert ranges(name, **fields) == expected


def test_as_many_teachers_are_tried_as_there_are() -> None:
    assert ranges("im") == {
        "teachers": "2, 3, 4",
        "erode": "0, 3, 5",
        "dilate": "0, 3, 5",
        "image_filter": "foreground, classes, none",
    }
    assert ranges("im", members=3)["teachers"] == "2, 3"
    fields = schedule_class("im")(teachers=3).label_fields()
    assert fields == {
        "labels": "consensus",
        "teachers": 3,
        "erode": 0,
        "dilate": 0,
        "image_filter": "original",
    }
