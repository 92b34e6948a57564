"""Methods: the stages that each asks for."""

from __future__ import annotations

from typing import Any

import pytest

from im_bench.errors import ImBenchError
from im_bench.methods import known_methods, method_class
from im_bench.methods.registry import BUILT_IN
from im_bench.suites.graph import Stage
from im_bench.suites.plan import Plan

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
    classes = [method_class(name) for name in BUILT_IN]
    assert len({each.title for each in classes}) == len(classes)
    assert all(each.source for each in classes)
    with pytest.raises(ImBenchError, match="unknown method 'lddt': did you mean 'ldt'"):
        method_class("lddt")


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
