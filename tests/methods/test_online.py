from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from im_bench.errors import ImBenchError
from im_bench.planning.plan import Plan, make_plan

SUITE = """
name: tiny
seeds: [1]
training: {{batch: 4}}
data:
  lesions:
    synth: {{like: isic2018, train: 16, val: 4, test: 4}}
    size: [32, 32]
methods:
{methods}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Callable[[str], Plan]:
    def make(*methods: str) -> Plan:
        path = tmp_path / "tiny.yaml"
        path.write_text(SUITE.format(methods="\n".join(f"  {each}" for each in methods)))
        return make_plan(path, tmp_path / "runs", tmp_path / "data")

    return make


def trainings(plan: Plan) -> list[dict]:
    return [dict(stage.config) for stage in plan.graph if stage.kind == "train"]


def test_a_training_is_told_the_method_with_all_its_fields(plan):
    (config,) = trainings(plan("fixmatch: {threshold: 0.8}"))
    assert config["method"]["name"] == "fixmatch"
    assert config["method"]["threshold"] == 0.8
    assert config["method"]["partner"] == "same"
    assert config["masking"] is None


def test_masks_train_the_base_method_first_and_share_it(plan):
    both = plan("fixmatch: {members: 3}", "fixmatch+im: {}")
    slugs = [stage.slug.rpartition("/s1/")[2] for stage in both.graph if stage.kind != "data"]
    assert slugs == [
        *(f"fixmatch/member{i}" for i in (1, 2, 3)),
        "fixmatch/scores",
        "fixmatch+im/g1-labels",
        "fixmatch+im/g1-student1",
        "fixmatch+im/scores",
    ]
    assert trainings(both)[-1]["masking"] == {
        "labels": "consensus",
        "block_input": True,
        "block_output": True,
    }
    assert [cell.title for cell in both.cells] == ["FixMatch", "FixMatch + IM"]


def test_teachers_are_chosen_among_all_members(plan):
    with pytest.raises(ImBenchError, match="teachers: 4 is more than members: 3"):
        plan("fixmatch+im: {im: {teachers: 4}}")


def test_networks_need_members(plan):
    network = "{backbone: {type: A}, decode_head: {type: B}}"
    with pytest.raises(ImBenchError, match="2 networks beside the data set's own need more than 2"):
        plan(f"fixmatch+im: {{im: {{members: 2, networks: [{network}, {network}]}}}}")


def test_a_recipe_of_the_method_overrides_the_suites(plan):
    (config,) = trainings(plan("fixmatch: {training: {learning_rate: 0.1, batch: 2}}"))
    assert config["learning_rate"] == 0.1
    assert config["batch"] == 2


def test_crops_of_a_recipe_have_a_scale_where_the_suite_has_none(plan):
    whole, cropped = trainings(plan("fixmatch: {}", "unimatch: {training: {crop: [32, 32]}}"))
    assert whole["crop"] is whole["scale"] is None
    assert cropped["crop"] == [32, 32]
    assert cropped["scale"] == [0.5, 2.0]


def test_only_methods_with_unlabelled_images_take_masks(plan):
    with pytest.raises(ImBenchError, match="'ldt' does not: remove it"):
        plan("ldt+im: {}")


def test_a_variant_says_which_method_it_is(plan):
    plain, masked = plan(
        "mild: {method: fixmatch, threshold: 0.5}", "mild+im: {method: fixmatch, threshold: 0.5}"
    ).cells
    assert plain.title == "FixMatch, mild"
    assert masked.title == "FixMatch, mild + IM"
