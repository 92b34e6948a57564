from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from im_bench.errors import ImBenchError
from im_bench.files import read_json, write_json
from im_bench.planning.plan import Plan, make_plan
from im_bench.report.exchange.document import Document
from im_bench.report.exchange.exporting import export, flat, write_parquet
from im_bench.report.exchange.importing import import_file, read_document
from im_bench.report.tables.build import results_table
from im_bench.report.tables.rendering import plain_text, render_csv
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage

from ..conftest import Score
from ..results import SUITE

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def theirs(filled: Plan, store: Store, tmp_path: Path) -> Path:
    """What another group exported, with a seed of IM that they lack."""
    path = tmp_path / "theirs.json"
    path.write_text(export(filled, store, "lab-b").model_dump_json())
    return path


@pytest.fixture
def here(plan: Plan, tmp_path: Path) -> Path:
    """A results folder of ours, still empty."""
    return tmp_path / "ours"


def test_a_result_says_all_that_determined_it(plan: Plan, store: Store, score: Score) -> None:
    cell = plan.cell("isic/0.1/im")
    final = plan.graph[cell.finals[2]]
    student = plan.graph[final.inputs["generation-2"][0]]
    folder = score("isic/0.1/im", 2, 0.5, 0.6, shares=[0.25, 0.75])
    result = read_json(folder / "result.json")
    result["outcome"]["generations"][1]["selected"] = Path(student.folder).name
    result["outcome"]["generations"][1]["test"]["iou/lesion"] = 0.55
    write_json(folder / "result.json", result)
    (one,) = export(plan, store).cells
    assert (one.name, one.metric, one.seeds) == ("isic/0.1/im", "iou", (1, 2, 3))
    assert one.protocol.budget == {"kind": "equal", "iterations": 150}
    assert one.protocol.method["generations"] == 2
    assert one.protocol.recipes["pseudo-label"] == 2
    first, second = one.results
    assert (first.generation, first.in_table, second.in_table) == (1, False, True)
    assert second.test == {"iou": 0.6, "iou/lesion": 0.55}
    assert second.key == final.key
    assert second.config == json.loads(json.dumps(student.config))
    assert second.shares == {"images_kept": 0.75, "pixels_kept": 0.5}
    assert (second.commit, second.versions) == ("0123456789abcdef", {"torch": "2.13.0"})
    assert one.scores == {2: 0.6}


def test_a_result_has_its_headline_and_the_time_of_its_trainings(
    plan: Plan, store: Store, score: Score
) -> None:
    score("isic/0.1/im", 2, 0.5, 0.6)
    final = plan.graph[plan.cell("isic/0.1/im").finals[2]]
    trainings = [stage for stage in plan.closure([final.key]) if stage.kind == "train"]
    assert len(trainings) == 2 + 2 + 2  # members, and students of two generations
    for stage in trainings:
        leave(store, plan, stage, seconds=7, seconds_in_all=10)
    leave(store, plan, final, seconds=3, seconds_in_all=3)
    document = export(plan, store)
    rows = flat(document)
    assert [(row["metric"], row["score"]) for row in rows] == [("iou", 0.5), ("iou", 0.6)]
    assert [row["training_seconds"] for row in rows] == [40, 60]
    assert {row["scoring_seconds"] for row in rows} == {3}
    assert "seconds" not in rows[0]
    (store.folder(trainings[0]).path / "result.json").unlink()
    assert {row["training_seconds"] for row in flat(export(plan, Store(store.out)))} == {None}


def leave(store: Store, plan: Plan, stage: Stage, **more: float) -> None:
    """Leave a result, or add to one that is there."""
    path = store.prepare(stage, plan.graph).path / "result.json"
    result = store.result(stage) or {"key": stage.key, "kind": stage.kind, "outcome": {}}
    write_json(path, {**result, **more})


def test_the_labelled_images_are_named(filled: Plan, store: Store, tmp_path: Path) -> None:
    final = filled.graph[filled.cell("isic/0.1/ldt").finals[1]]
    packed = filled.graph[final.inputs["data"][0]]
    leave(store, filled, packed)
    meta = {"labelled": ["a", "b"], "names": {"train": ["a", "b", "c"]}}
    write_json(store.folder(packed).path / "arrays" / "meta.json", meta)
    document = export(filled, store)
    assert document.labelled["isic"].names == ("a", "b")
    digest = hashlib.sha256(b"a\nb\n").hexdigest()
    rows = flat(document)
    write_parquet(rows, tmp_path / "results.parquet")
    frames = [
        pd.read_csv(io.StringIO(render_csv(rows))),
        pd.read_parquet(tmp_path / "results.parquet"),
    ]
    for frame in frames:
        assert set(frame["labelled.count"]) == {2}
        assert set(frame["labelled.training_images"]) == {3}
        assert set(frame["labelled.split_seed"]) == {42}
        assert set(frame["labelled.sha256"]) == {digest}
        assert "labelled.names" not in frame
    notes = "\n".join(results_table(filled, store).notes)
    assert "Labelled: 2 of 3 images (split_seed 42) of isic; 10% of cells." in notes


def test_a_file_that_calls_the_time_of_scoring_seconds_is_read(theirs: Path) -> None:
    document = read_json(theirs)
    for result in document["cells"][0]["results"]:
        for name in ("scoring_seconds", "training_seconds", "score"):
            del result[name]
        result["seconds"] = 4.5
    del document["labelled"]
    write_json(theirs, document)
    read = read_document(theirs)
    assert {one.scoring_seconds for one in read.cells[0].results} == {4.5}
    assert read.labelled == {}


def test_json_reads_back_as_it_was(theirs: Path, filled: Plan, store: Store) -> None:
    assert read_document(theirs) == export(filled, store, "lab-b")


def test_paths_hosts_and_commands_stay_at_home(theirs: Path, tmp_path: Path) -> None:
    text = theirs.read_text()
    assert str(tmp_path) not in text
    assert "host" not in text


def test_pandas_reads_both_flat_formats(filled: Plan, store: Store, tmp_path: Path) -> None:
    rows = flat(export(filled, store))
    write_parquet(rows, tmp_path / "results.parquet")
    frames = [
        pd.read_csv(io.StringIO(render_csv(rows))),
        pd.read_parquet(tmp_path / "results.parquet"),
    ]
    for frame in frames:
        assert len(frame) == 3 * 3 + 2
        means = frame[frame.in_table].groupby("method")["test.iou"].mean()
        assert means["ldt"] == pytest.approx(0.62)
        assert means["im"] == pytest.approx(0.711)
        assert set(frame["protocol.budget.iterations"]) == {150}
        assert set(frame["versions.torch"]) == {"2.13.0"}
    assert list(frames[0].columns) == list(frames[1].columns)


def test_values_of_several_kinds_in_a_column_are_written_as_json(
    filled: Plan, store: Store, tmp_path: Path
) -> None:
    document = export(filled, store)
    cells = list(document.cells)
    data = {**cells[0].protocol.data, "labelled": "file"}
    protocol = cells[0].protocol.model_copy(update={"data": data})
    cells[0] = cells[0].model_copy(update={"protocol": protocol})
    rows = flat(document.model_copy(update={"cells": tuple(cells)}))
    write_parquet(rows, tmp_path / "mixed.parquet")
    frame = pd.read_parquet(tmp_path / "mixed.parquet")
    assert set(frame["protocol.data.labelled"]) == {'"file"', "0.1"}


def test_nothing_done_is_an_empty_document(plan: Plan, store: Store, tmp_path: Path) -> None:
    document = export(plan, store)
    assert (document.cells, flat(document)) == ((), [])
    write_parquet([], tmp_path / "empty.parquet")
    assert len(pd.read_parquet(tmp_path / "empty.parquet")) == 0


def test_imported_results_stand_in_rows_of_their_own(
    theirs: Path, plan: Plan, here: Path, tmp_path: Path
) -> None:
    alone = results_table(plan, Store(here))
    import_file(theirs, plan, here)
    table = results_table(plan, Store(here))
    assert [row.method for row in table.rows[len(alone.rows) :]] == [
        "ldt@lab-b",
        "fdt@lab-b",
        "aldt@lab-b",
        "im@lab-b",
    ]
    assert {key: table.entries[key] for key in alone.entries} == alone.entries
    theirs_ldt = table.entries["ldt@lab-b", "isic"]
    assert (theirs_ldt.mean, theirs_ldt.complete, theirs_ldt.rank) == (
        pytest.approx(0.62),
        True,
        None,
    )
    partial = table.entries["im@lab-b", "isic"]
    assert (partial.n, partial.complete) == (1, False)
    assert table.columns[0].metric == "iou"
    text = " ".join(plain_text(table).split())
    for said in ("imported from lab-b", "1 of 3, missing", "commit 0123456789", "not ranked"):
        assert said in text


def test_two_groups_stand_beside_each_other_and_a_filter_holds_for_them(
    theirs: Path, plan: Plan, here: Path, tmp_path: Path
) -> None:
    import_file(theirs, plan, here)
    import_file(theirs, plan, here, "lab-c")
    part = make_plan(plan.path, here, tmp_path / "data", methods=["ldt"])
    rows = results_table(part, Store(here)).rows
    assert [(row.method, row.origin) for row in rows] == [
        ("ldt", ""),
        ("ldt@lab-b", "lab-b"),
        ("ldt@lab-c", "lab-c"),
    ]


def set_at(document: dict[str, Any], path: str, value: object) -> None:
    at: Any = document
    *parents, last = path.split(".")
    for name in parents:
        at = at[int(name)] if isinstance(at, list) else at[name]
    at[int(last) if isinstance(at, list) else last] = value


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("format", "something", "is not the JSON that `im-bench export"),
        ("version", 2, "has version 2 of the schema, and this im-bench reads version 1"),
        ("suite", "other", "holds suite 'other' under budget 'equal', not 'tiny'"),
        ("budget", "paper", "under budget 'paper', not 'tiny' under 'equal'"),
        ("cells.0.method", "lfd", "unknown cell 'isic/0.1/lfd': did you mean 'isic/0.1/ldt'"),
        ("cells.0.protocol.training.batch", 7, "protocol: training.batch is 7 there and 32 here"),
        ("cells.0.protocol.method.members", 9, "protocol: method.members is 9 there and 2 here"),
        ("cells.0.protocol.recipes.train", 9, "recipes.train is 9 there"),
        ("cells.0.results.1.seed", 1, "seed 1, generation 1 stands there twice"),
        ("cells.0.results.1.seed", 8, "seed 8, generation 1 is of no seed of the cell"),
        ("cells.0.results.1.test", {}, "lacks its headline 'iou'"),
        ("cells.0.results.1.score", 0.99, "has score 0.99, but iou "),
        ("cells.0.results.1.test.iou", "high", r"damaged: cells.0.results.1.test.iou"),
        ("cells", [], "holds no results"),
        ("origin", "", "give the group a name with --origin"),
        ("origin", "../up", "damaged: origin"),
        ("surprise", 1, "damaged: surprise"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(
    theirs: Path, plan: Plan, here: Path, path: str, value: object, said: str
) -> None:
    document = read_json(theirs)
    set_at(document, path, value)
    write_json(theirs, document)
    with pytest.raises(ImBenchError) as caught:
        import_file(theirs, plan, here)
    assert said in str(caught.value)
    assert str(theirs) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not here.exists()


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "a,b\n1,2\n"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(ImBenchError, match="is not the JSON that"):
        read_document(path)
    with pytest.raises(ImBenchError, match="cannot read"):
        read_document(tmp_path / "none.json")


def test_a_suite_that_changed_since_hides_and_names_what_was_imported(
    theirs: Path, plan: Plan, here: Path, tmp_path: Path
) -> None:
    import_file(theirs, plan, here)
    plan.path.write_text(SUITE.replace("iterations: 150", "iterations: 300"))
    changed = make_plan(plan.path, here, tmp_path / "data")
    table = results_table(changed, Store(here))
    assert all(not row.origin for row in table.rows)
    assert any(
        "not shown: lab-b.json" in note and "150 there and 300" in note for note in table.notes
    )


def test_where_data_lie_and_how_tables_treat_them_is_no_protocol(
    theirs: Path, plan: Plan, here: Path, tmp_path: Path
) -> None:
    plan.path.write_text(SUITE.replace("{reference: isic2018}", "{folder: elsewhere, group: skin}"))
    import_file(theirs, make_plan(plan.path, here, tmp_path / "data"), here)


def test_the_schema_is_documented_field_by_field() -> None:
    from im_bench.report.exchange import document as exchange

    for part in (
        exchange.CellProtocol,
        exchange.ExportedResult,
        exchange.ExportedCell,
        exchange.Document,
    ):
        for name in part.model_fields:
            assert f"\n        {name}: " in (part.__doc__ or ""), (part, name)
    assert Document.model_json_schema()["properties"]["version"]["const"] == 1
