"""From a suite to cells and stages."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from im_bench.errors import ImBenchError
from im_bench.planning.loading import BUILT_IN, suite_path
from im_bench.planning.plan import Plan, make_plan
from im_bench.report.reference import load_references
from im_bench.report.tables.matching import protocol_of
from im_bench.suites.schema import DataSpec

from .conftest import DATA, METHODS, Make, plan_of, write_suite


def keys(plan: Plan) -> dict[tuple[str, int], str]:
    return {(cell.name, seed): key for cell in plan.cells for seed, key in cell.finals.items()}


def some(names: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(sorted(names)), min_size=1, unique=True)


@settings(max_examples=20, deadline=None)
@given(some(METHODS), some(DATA), some([1, 2, 3, 7]))
def test_what_stands_beside_a_cell_changes_neither_its_keys_nor_its_seeds(
    methods: list[str], data: list[str], seeds: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = plan_of(folder, seeds=[1, 2, 3, 7])
        part = plan_of(
            folder,
            seeds=seeds,
            methods={m: METHODS[m] for m in methods},
            data={d: DATA[d] for d in data},
        )
    assert keys(part).items() <= keys(whole).items()
    for stage in part.graph:
        assert whole.graph[stage.key].config == stage.config
        assert whole.graph[stage.key].folder == stage.folder


def test_choosing_a_part_is_the_same_as_writing_a_smaller_suite(make: Make) -> None:
    chosen = make({"methods": ["im"], "data": ["reef"], "seeds": [2]})
    written = make(methods={"im": METHODS["im"]}, data={"reef": DATA["reef"]}, seeds=[2])
    assert keys(chosen) == keys(written)
    assert [stage.key for stage in chosen.graph] == [stage.key for stage in written.graph]


def test_members_are_shared_and_nothing_else(make: Make) -> None:
    plan = make({"methods": ["ldt", "me", "im"], "data": ["lesions"], "seeds": [1]})
    kinds = Counter(stage.kind for stage in plan.graph)
    # 3 members, 2 methods x 2 generations x 2 students.
    assert kinds == {"data": 1, "train": 3 + 8, "pseudo-label": 4, "evaluate": 3}
    assert plan.graph.asked - len(plan.graph) == 6  # ME and IM ask for the 3 members again.
    uses = plan.uses()
    assert Counter(uses[s.key] for s in plan.graph if s.kind == "train") == {3: 3, 1: 8}
    assert {uses[s.key] for s in plan.graph if s.kind == "data"} == {3}


def test_data_sets_with_the_same_data_share_their_stage(make: Make) -> None:
    plan = make(data={**DATA, "again": {**DATA["lesions"], "model": {"width": 0.25}}})
    packed = {name: plan.packed(name) for name in (*DATA, "again")}
    assert packed["again"] == packed["lesions"] != packed["reef"]
    assert None not in packed.values()


def test_every_stage_comes_after_what_it_needs(make: Make) -> None:
    plan = make()
    seen: set[str] = set()
    for stage in plan.graph:
        assert set(stage.requires) <= seen
        seen.add(stage.key)
    assert seen == {stage.key for cell in plan.cells for stage in plan.stages_of(cell)}


def test_no_two_trainings_have_the_same_seed_or_folder(make: Make) -> None:
    plan = make()
    trained = [stage for stage in plan.graph if stage.kind == "train"]
    # Variants of a method differ in what they say, and not in how they start.
    starts = {(stage.config["seed"], stage.slug) for stage in trained}
    assert len({seed for seed, _ in starts}) == len({slug for _, slug in starts}) == len(starts)
    assert len({stage.folder for stage in plan.graph}) == len(plan.graph)


def test_only_what_belongs_to_a_training_changes_its_key(make: Make) -> None:
    before = keys(make())
    assert keys(make(description="other words")) == before
    for changed in (
        make(training={"batch": 16}),
        make(budget="equal"),
        make(budgets={"paper": {"epochs": 7}}),
        make(data={name: {**spec, "labelled": 0.2} for name, spec in DATA.items()}),
    ):
        assert not set(keys(changed).values()) & set(before.values())
    # The other budget's length is no part of it.
    assert keys(make(budgets={"equal": {"iterations": 7}})) == before


def test_data_that_are_not_there_are_the_problem_of_their_cells(make: Make) -> None:
    plan = make(data={**DATA, "absent": {"folder": "absent"}})
    problems = {cell.data: cell.problem for cell in plan.cells}
    assert problems["lesions"] == ""
    assert "absent/dataset.yaml: run `im-bench data prepare`" in problems["absent"]


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"methods": ["imm"]}, "unknown method in this suite 'imm': did you mean 'im'?"),
        ({"data": ["reefs"]}, "unknown data set in this suite 'reefs': did you mean 'reef'?"),
    ],
)
def test_unknown_choices(make: Make, chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ImBenchError) as error:
        make(chosen)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"sedes": [1]}, "unknown field 'sedes': did you mean 'seeds'?"),
        ({"seeds": [1, 1]}, "seeds must differ from each other"),
        ({"seeds": []}, "seeds: "),
        ({"training": {"batch": 0}}, "training.batch: "),
        (
            {"resources": {"data": {"processes": 2}}},
            "resources.data: only trainings use several processes, not data: ask for one",
        ),
        (
            {"resources": {"train": {"gpus": 2, "processes": 3}}},
            "processes: 3 and gpus: 2 contradict each other",
        ),
        ({"training": {"bach": 8}}, "unknown field 'bach': did you mean 'batch'?"),
        ({"methods": {"adlt": None}}, "unknown method 'adlt': did you mean 'aldt'?"),
        ({"methods": {"im": {"teacher": 2}}}, "unknown field 'teacher': did you mean 'teachers'?"),
        ({"methods": {"im": {"teachers": 9, "students": 5}}}, "teachers: 9 is more than students"),
        ({"methods": {"im": {"teachers": 1}}}, "teachers: "),
        ({"data": {"a": {"synth": {"like": "isic"}}}}, "like: "),
        ({"data": {"a": {"synth": {"like": "hela"}, "folder": "b"}}}, "synth or folder, not both"),
        ({"data": {"a": {"folder": "b", "model": {"backbone": {}}}}}, "go together"),
        ({"name": "other"}, "the suite calls itself 'other' and its file 'small'"),
    ],
)
def test_a_wrong_suite_is_one_sentence_with_its_file(
    make: Make, tmp_path: Path, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ImBenchError) as error:
        make(**fields)
    message = str(error.value)
    assert message.startswith(str(tmp_path / "small.yaml"))
    assert sentence in message
    assert "\n" not in message


def test_a_batch_that_processes_cannot_share_is_refused(make: Make) -> None:
    fields = {"training": {"batch": 6}, "resources": {"train": {"gpus": 4}}}
    with pytest.raises(ImBenchError, match="batch of 6 images cannot be divided among 4 processes"):
        make(**fields)


def test_a_wrong_field_is_told_with_its_line(make: Make, tmp_path: Path) -> None:
    path = write_suite(tmp_path)
    lines = path.read_text().splitlines()
    line = next(i for i, text in enumerate(lines, 1) if "width" in text)
    path.write_text("\n".join(lines).replace("width", "widht"))
    with pytest.raises(ImBenchError, match=rf"small.yaml:{line}: .*'widht': did you mean 'width'"):
        make_plan(path, tmp_path, tmp_path)


def test_a_suite_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match="'from-scrach': did you mean 'from-scratch'"):
        suite_path("from-scrach")
    with pytest.raises(ImBenchError, match=r"there is no suite file .*x.yaml"):
        suite_path(str(tmp_path / "x.yaml"))


@pytest.mark.parametrize("path", sorted(BUILT_IN.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_suites_that_come_with_im_bench(path: Path, tmp_path: Path) -> None:
    plan = make_plan(path, tmp_path / "runs", tmp_path / "data")
    online = {"fixmatch", "fpl", "crossmatch", "imas", "u2pl", "unimatch"}
    study_b = {"ldt", "aldt", "fdt", "me", "im"}
    expected = {
        "quickstart": study_b,
        "from-scratch": study_b | {"afdt"} | online,
        "real-small": study_b | {"afdt"} | online,
    }
    if path.stem in expected:
        assert {cell.method for cell in plan.cells} == expected[path.stem]
    assert len(plan.graph) < plan.graph.asked


def test_study_a_has_each_method_without_and_with_masks(tmp_path: Path) -> None:
    plan = make_plan(BUILT_IN / "cityscapes.yaml", tmp_path / "runs", tmp_path / "data")
    methods = {"supervised", "u2pl", "unimatch", "imas"}
    assert {cell.method for cell in plan.cells} == methods | {f"{m}+im" for m in methods}
    assert len({cell.data for cell in plan.cells}) == 4
    masked = plan.cell("cityscapes-1-8/file/u2pl+im")
    slugs = [stage.slug.rpartition("/s1/")[2] for stage in plan.closure([masked.finals[1]])]
    assert slugs[-3:] == ["u2pl+im/g1-labels", "u2pl+im/g1-student1", "u2pl+im/scores"]
    student = plan.closure([masked.finals[1]])[-2].config
    assert student["crop"] == [769, 769]
    assert student["evaluation"]["mode"] == "slide"
    imas = plan.cell("cityscapes-1-8/file/imas")
    # As in its code, and unlike the default, which never waits for the device.
    assert plan.closure([imas.finals[1]])[-2].config["method"]["skip_undrawn"]


def test_padding_needs_a_size_and_changes_the_data(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="fit: pad needs a size that no image exceeds"):
        DataSpec(fit="pad")
    keys = []
    for fit in ("resize", "pad"):
        path = tmp_path / fit / "x.yaml"
        path.parent.mkdir()
        path.write_text(
            f"name: x\ndata: {{d: {{size: [64, 64], fit: {fit}}}}}\nmethods: {{ldt: }}\n"
        )
        (packing,) = (
            stage
            for stage in make_plan(path, tmp_path / "runs", tmp_path / "data").graph
            if stage.kind == "data"
        )
        keys.append((packing.key, packing.config["fit"]))
    assert keys[0][0] != keys[1][0]
    assert [fit for _, fit in keys] == ["resize", "pad"]


def test_study_a_with_dinov2_has_a_senior_beside_the_junior(tmp_path: Path) -> None:
    plan = make_plan(BUILT_IN / "cityscapes-dinov2.yaml", tmp_path / "runs", tmp_path / "data")
    methods = {"supervised", "unimatch-v2", "segkc"}
    assert {cell.method for cell in plan.cells} == methods | {f"{m}+im" for m in methods}
    assert len({cell.data for cell in plan.cells}) == 8  # four splits, of two families of lists
    for name in ("segkc", "segkc+im"):
        stages = plan.stages_of(plan.cell(f"cityscapes-1-8/file/{name}"))
        trained = [stage.config for stage in stages if stage.kind == "train"]
        assert {each["model"]["backbone"]["size"] for each in trained} == {"s"}
        assert {each["twin"]["backbone"]["size"] for each in trained} == {"b"}
        assert all("twin" not in each["method"] for each in trained)


def test_members_of_several_architectures_label_together(tmp_path: Path) -> None:
    plan = make_plan(BUILT_IN / "camvid-dinov2.yaml", tmp_path / "runs", tmp_path / "data")
    cells = {name: plan.cell(f"camvid/0.25/unimatch-v2{name}") for name in ("+im", "-mixed+im")}
    kinds = {}
    for name, cell in cells.items():
        (labels,) = (each for each in plan.stages_of(cell) if each.kind == "pseudo-label")
        candidates = [plan.graph[key] for key in labels.inputs["candidates"]]
        kinds[name] = [each.config["model"]["backbone"]["type"] for each in candidates]
        assert all("im_bench.models.dpt" in e.config["model"]["custom_imports"] for e in candidates)
        student = next(each for each in plan.stages_of(cell) if each.slug.endswith("student1"))
        assert student.config["model"]["backbone"]["type"] == "DINOv2"
    assert kinds == {"+im": ["DINOv2", "DINOv2"], "-mixed+im": ["DINOv2", "ResNetV1c"]}
    first = {
        next(each.key for each in plan.stages_of(cell) if each.slug.endswith("member1"))
        for cell in cells.values()
    }
    assert len(first) == 1  # the member that both have is trained once


@pytest.mark.parametrize("name", ["cityscapes-daw", "mitochondria", "mitochondria-small"])
def test_daw_and_what_it_builds_on_are_there_without_and_with_masks(
    name: str, tmp_path: Path
) -> None:
    plan = make_plan(BUILT_IN / f"{name}.yaml", tmp_path / "runs", tmp_path / "data")
    methods = {"supervised", "fixmatch", "unimatch", "daw"}
    assert {cell.method for cell in plan.cells} == methods | {f"{m}+im" for m in methods}


def test_pascal_has_reported_numbers_beside_it(tmp_path: Path) -> None:
    plan = make_plan(BUILT_IN / "pascal.yaml", tmp_path / "runs", tmp_path / "data")
    methods = {"supervised", "fixmatch", "unimatch", "daw", "rankmatch", "unimatch-v2"}
    methods |= {"u2pl", "imas"}
    assert {cell.method for cell in plan.cells} == methods | {f"{m}+im" for m in methods}
    protocols = {
        (each.backbone, each.family, each.split)
        for each in (protocol_of(spec, "miou_dataset") for spec in plan.suite.data.values())
        if each is not None
    }
    shares = ("1/16", "1/8", "1/4", "1/2")
    splits = [("classic", split) for split in ("92", "183", "366", "732", "1464")]
    splits += [("blended-u2pl", share) for share in shares]
    assert protocols == {(b, *split) for b in ("ResNet-50", "ResNet-101") for split in splits}
    reported = {
        (number.backbone, number.family, number.split)
        for number in load_references()
        if number.data == "pascal" and number.method in methods
    }
    assert len(protocols & reported) >= 12
    (packing,) = {str(s.config["size"]) for s in plan.graph if s.kind == "data"}
    assert packing == "[500, 500]"
    trainings = {s.slug: s.config for s in plan.graph if s.kind == "train"}
    small = trainings["r101-classic-92/file/s1/rankmatch/member1"]
    assert small["crop"] == [321, 321]
    assert small["model"]["backbone"]["depth"] == 101
    assert small["method"]["threshold"] == 0.95
    assert trainings["r50-blended-1-8/file/s1/unimatch/member1"]["crop"] == [513, 513]
    assert trainings["r50-classic-92/file/s1/imas/member1"]["batch"] == 16


def test_variants_of_a_method_can_be_told_apart(make: Make) -> None:
    plan = make(methods={"im": METHODS["im"], "im-4": {**METHODS["im"], "method": "im"}})
    titles = {cell.method: cell.title for cell in plan.cells}
    assert titles == {
        "im": "Inconsistency Masks (IM)",
        "im-4": "Inconsistency Masks (IM), im-4",
    }


@pytest.mark.parametrize("kind", ["ldt", "im"])
def test_scores_of_validation_images_change_nothing_but_the_evaluation(
    make: Make, kind: str
) -> None:
    tested, validated = (
        {stage.slug: stage for stage in make({"methods": [kind]}, **fields).graph}
        for fields in ({}, {"scores": "val"})
    )
    assert tested.keys() == validated.keys()
    for slug, stage in tested.items():
        assert (stage.key == validated[slug].key) == (stage.kind != "evaluate")
        assert "part" not in stage.config or stage.kind != "evaluate"
    scores = [stage for stage in validated.values() if stage.kind == "evaluate"]
    assert {stage.config["part"] for stage in scores} == {"val"}


def test_a_suite_that_says_that_it_scores_test_images_is_one_that_says_nothing(make: Make) -> None:
    assert keys(make()) == keys(make(scores="test"))
    with pytest.raises(ImBenchError, match="scores"):
        make(scores="train")


def test_held_out_images_make_other_data(make: Make) -> None:
    def config(**fields: Any) -> dict[str, Any]:
        plan = make({"methods": ["ldt"]}, data={"lesions": {**DATA["lesions"], **fields}})
        (stage,) = (stage for stage in plan.graph if stage.kind == "data")
        return {"key": stage.key, **stage.config}

    plain, held, more = config(), config(hold_out=0.2), config(hold_out=0.3)
    assert plain["hold_out"] is None
    assert held["hold_out"] == 0.2
    assert len({plain["key"], held["key"], more["key"]}) == 3
    for wrong in (0, 1, -1, "half"):
        with pytest.raises(ImBenchError, match="hold_out"):
            config(hold_out=wrong)
