from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from im_bench.planning.plan import Plan, make_plan
from im_bench.report.reference import load_references
from im_bench.report.tables.build import results_table
from im_bench.report.tables.columns import columns_of
from im_bench.report.tables.entries import ResultsTable
from im_bench.report.tables.matching import backbone_of, protocol_of
from im_bench.runner.store import Store
from im_bench.suites.schema import DataSpec
from im_bench.training.specs import ModelSpec

from ..results import finish, outcome_of

RESNET = """
      backbone: {type: ResNetV1c, depth: DEPTH, strides: [1, 2, 2, 1]}
      decode_head: {type: FCNHead}
"""
SUITE = """
name: street
seeds: [1]
data:
  cs-1-16: &cs
    labelled: file
    reference: cityscapes/u2pl/1/16
    model:RESNET
  cs-1-8: {<<: *cs, reference: cityscapes/u2pl/1/8}
  other: {<<: *cs, reference: cityscapes/unimatch/1/16}
methods:
  supervised: {}
  imas: {}
  unimatch: {}
  unimatch+im: {}
"""


def street(tmp_path: Path, depth: int = 50) -> Plan:
    path = tmp_path / "street.yaml"
    path.write_text(SUITE.replace("RESNET", RESNET.rstrip()).replace("DEPTH", str(depth)))
    return make_plan(path, tmp_path / "runs", tmp_path / "data")


def reported(table: ResultsTable, method: str) -> dict[str, float | None]:
    return {c.data: table.entries[method, c.data].reported for c in table.columns}


def test_the_number_of_the_same_family_split_and_backbone_is_chosen(tmp_path: Path) -> None:
    table = results_table(street(tmp_path), Store(tmp_path / "runs"))
    assert reported(table, "unimatch") == {
        "cs-1-16": pytest.approx(0.7349),
        "cs-1-8": pytest.approx(0.7626),
        "other": pytest.approx(0.75),
    }
    assert table.entries["unimatch", "other"].source == "UniMatch (README)"
    # iMAS's own README and Study A have the same protocol: the source of most rows goes first.
    assert reported(table, "imas")["cs-1-16"] == pytest.approx(0.7407)
    notes = "\n".join(table.notes)
    assert (
        "also reported, under the same protocol, by: iMAS (README), iMAS (training logs)" in notes
    )


def test_numbers_of_other_protocols_are_named_with_the_reason(tmp_path: Path) -> None:
    notes = results_table(street(tmp_path), Store(tmp_path / "runs")).notes
    wanted = "UniMatch (README), UniMatch (training logs) on cs 1/16, 1/8: "
    assert any(f"{wanted}split family unimatch, not u2pl." in note for note in notes)
    assert any("U2PL (README)" in n and "backbone ResNet-101, not ResNet-50" in n for n in notes)


def test_another_backbone_has_other_numbers(tmp_path: Path) -> None:
    table = results_table(street(tmp_path, depth=101), Store(tmp_path / "runs"))
    assert reported(table, "imas") == dict.fromkeys(("cs-1-16", "cs-1-8", "other"))
    assert reported(table, "unimatch")["other"] == pytest.approx(0.766)
    assert any("backbone ResNet-50, not ResNet-101" in note for note in table.notes)


def test_another_metric_is_not_compared(tmp_path: Path) -> None:
    plan, store = street(tmp_path), Store(tmp_path / "runs")
    stage = plan.graph[plan.cell("cs-1-16/file/imas").finals[1]]
    finish(store, plan, stage, outcome_of("miou", [0.7]))
    table = results_table(plan, store)
    assert reported(table, "imas")["cs-1-16"] is None
    assert any("metric miou_dataset, not miou" in note for note in table.notes)


def test_exact_numbers_go_before_those_read_from_a_figure(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_text(
        "name: b\nseeds: [1]\ndata: {isic: {reference: isic2018}}\n"
        "methods: {ldt: {members: 1}, aldt: {members: 1}}\n"
    )
    plan, store = make_plan(path, tmp_path / "runs", tmp_path / "data"), Store(tmp_path / "runs")
    assert results_table(plan, store).entries["ldt", "isic"].reported == pytest.approx(0.671)
    figure = [n for n in load_references() if n.approximate]
    read = results_table(plan, store, figure)
    assert read.entries["ldt", "isic"].approximate
    assert any("≈: read from a figure" in note for note in read.notes)


def test_built_in_suites_find_their_papers(tmp_path: Path) -> None:
    for name, rows in (("cityscapes", 8), ("cityscapes-dinov2", 4), ("from-scratch", 12)):
        path = Path(__file__).parents[3] / "benchmarks" / "suites" / f"{name}.yaml"
        plan = make_plan(path, tmp_path / "runs", tmp_path / "data", seeds=[1])
        table = results_table(plan, Store(tmp_path / "runs"))
        found = {key: e.source for key, e in table.entries.items() if e.reported is not None}
        lists = {key: found.pop(key) for key in list(found) if key[1].startswith("unimatch-lists")}
        assert len(found) == 4 * rows
        study = "Study A" if name.startswith("cityscapes") else "Study B"
        assert all(study in source for source in found.values())
        assert len(lists) == (8 if name == "cityscapes-dinov2" else 0)
        assert {method for method, _ in lists} <= {"supervised", "unimatch-v2"}
        assert all("UniMatch V2" in source for source in lists.values())


@pytest.mark.parametrize(
    "fields", [{"synth": {"like": "isic2018"}, "size": (32, 32)}, {"limit": {"test": 10}}]
)
def test_drawn_data_and_parts_have_no_reported_numbers(fields: dict[str, Any]) -> None:
    assert protocol_of(DataSpec(reference="isic2018", **fields), "iou") is None
    assert protocol_of(DataSpec(reference="isic2018"), "iou") is not None


def test_a_reference_that_names_a_family_names_its_split() -> None:
    with pytest.raises(ValueError, match="reference"):
        DataSpec(reference="cityscapes/u2pl")


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "1x1 U-Net"),
        ({"type": "ResNetV1c", "depth": 50}, "ResNet-50"),
        ({"type": "DINOv2", "weights": "hub"}, "DINOv2-S"),
        ({"type": "DINOv2", "size": "b"}, "DINOv2-B"),
        ({"type": "DINOv2", "options": {"hidden_size": 96}}, "DINOv2-S (other width)"),
        ({"type": "ResNet", "depth": 101}, "ResNet-101"),
        ({"type": "ResNetV1c", "depth": 18, "base_channels": 16}, "ResNet-18 (16 wide)"),
        ({"type": "ResNeSt", "depth": 50}, "ResNeSt"),
        ({"type": "MixVisionTransformer"}, "MixVisionTransformer"),
    ],
)
def test_backbones_have_the_names_of_papers(fields: dict[str, object], name: str) -> None:
    model = ModelSpec(backbone=fields, decode_head={"type": "FCNHead"}) if fields else ModelSpec()
    assert backbone_of(model) == name


def test_splits_of_one_data_set_stand_under_one_heading(tmp_path: Path) -> None:
    plan = street(tmp_path)
    columns = columns_of(plan, {})
    assert [(c.group, c.label, c.name) for c in columns.values()] == [
        ("cs", "1/16", "cs 1/16"),
        ("cs", "1/8", "cs 1/8"),
        ("", "", "other"),
    ]
    one = make_plan(plan.path, tmp_path / "runs", tmp_path / "data", data=["cs-1-8", "other"])
    assert [c.name for c in columns_of(one, {}).values()] == ["cs-1-8", "other"]


def test_a_suite_says_what_belongs_together(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(
        "name: g\ndata:\n  voc-92: {group: voc}\n  cells: {}\n  voc-183: {group: voc}\n"
        "methods: {ldt: {members: 1}}\n"
    )
    plan = make_plan(path, tmp_path / "runs", tmp_path / "data")
    columns = list(columns_of(plan, {}).values())
    assert [(c.group, c.label) for c in columns] == [("voc", "92"), ("voc", "183"), ("", "")]
    assert [c.data for c in columns] == ["voc-92", "voc-183", "cells"]
