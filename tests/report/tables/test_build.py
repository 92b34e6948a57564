from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from im_bench.evaluation.registry import METRICS, higher_is_better
from im_bench.files import write_json
from im_bench.planning.plan import Cell, Plan, make_plan
from im_bench.report.tables.build import generations_table, long_rows, results_table
from im_bench.report.tables.entries import Column, Entry, ResultsTable, State
from im_bench.runner.store import Store

from ..conftest import Score
from ..results import finish, make_tiny_plan, outcome_of


def entry(table: ResultsTable, method: str, data: str) -> Entry:
    return table.entries[method, data]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_mean_and_sample_deviation(values: list[float]) -> None:
    scores = dict(enumerate(values))
    one = Entry(scores, tuple(scores), State.DONE)
    assert one.mean == pytest.approx(np.mean(values))
    if len(values) == 1:
        assert one.std is None
    else:
        assert one.std == pytest.approx(np.std(values, ddof=1), abs=1e-12)


def test_metrics_have_a_unit_and_a_direction() -> None:
    assert (Column("a", "0.1", "mcce").unit, Column("a", "0.1", "mcce").higher) == ("cells", False)
    assert (Column("a", "0.1", "miou").unit, Column("a", "0.1", "miou").higher) == ("%", True)
    assert Column("a", "0.1", "").higher is None


def test_incomplete_entries_are_marked_and_not_ranked(
    plan: Plan, store: Store, score: Score
) -> None:
    for seed in (1, 2, 3):
        score("isic/0.1/ldt", seed, 0.5)
        score("isic/0.1/aldt", seed, 0.4)
    for seed in (1, 3):
        score("isic/0.1/im", seed, 0.8, 0.9)
    table = results_table(plan, store)
    partial = entry(table, "im", "isic")
    assert (partial.n, partial.seeds, partial.complete) == (2, (1, 2, 3), False)
    assert partial.mean == pytest.approx(0.9)
    assert partial.rank is None
    assert entry(table, "ldt", "isic").rank == 1
    assert entry(table, "aldt", "isic").rank == 2


def test_ranks_follow_the_direction_and_leave_out_methods_with_all_labels(
    tmp_path: Path, store: Store
) -> None:
    plan = make_tiny_plan(tmp_path, seeds=[1])
    scores = {"ldt": 9.9, "aldt": 3.3, "im": 2.84, "fdt": 2.5}
    for method, value in scores.items():
        stage = plan.graph[plan.cell(f"cells/0.1/{method}").finals[1]]
        finish(store, plan, stage, outcome_of("mcce", [value]))
    table = results_table(plan, store)
    assert [row.method for row in table.rows] == ["ldt", "aldt", "im", "fdt"]
    assert [row.all_labels for row in table.rows] == [False, False, False, True]
    ranks = {method: entry(table, method, "cells").rank for method in scores}
    assert ranks == {"ldt": None, "aldt": 2, "im": 1, "fdt": None}


def test_entries_that_print_alike_share_a_mark(plan: Plan, store: Store, score: Score) -> None:
    for seed in (1, 2, 3):
        score("isic/0.1/ldt", seed, 0.50001)
        score("isic/0.1/aldt", seed, 0.50002)
        score("isic/0.1/im", seed, 0.4)
    table = results_table(plan, store)
    ranks = [entry(table, method, "isic").rank for method in ("ldt", "aldt", "im")]
    assert ranks == [1, 1, 2]


def test_holes_say_why(plan: Plan, store: Store, score: Score) -> None:
    table = results_table(plan, store)
    assert entry(table, "ldt", "isic").state is State.NO_DATA
    assert entry(table, "ldt", "cells").state is State.PLANNED

    member = next(s for s in plan.graph if s.slug == "cells/0.1/s2/ldt/member1")
    folder = store.prepare(member, plan.graph)
    with folder.lock():
        running = results_table(plan, Store(store.out))
    states = {m: entry(running, m, "cells").state for m in ("ldt", "im", "aldt")}
    assert states == {"ldt": State.RUNNING, "im": State.RUNNING, "aldt": State.PLANNED}

    write_json(folder.path / "error-1.json", {"type": "ValueError", "message": "no"})
    score("cells/0.1/ldt", 1, 5.0, metric="mcce")
    failed = entry(results_table(plan, Store(store.out)), "ldt", "cells")
    assert (failed.state, failed.n) == (State.FAILED, 1)


def test_reported_numbers_stand_beside_real_data_only(
    plan: Plan, store: Store, score: Score
) -> None:
    for seed in (1, 2, 3):
        score("isic/0.1/im", seed, 0.7, 0.733)
    table = results_table(plan, store)
    ours = entry(table, "im", "isic")
    assert ours.reported == pytest.approx(0.723)
    assert ours.difference == pytest.approx(0.01)
    assert entry(table, "ldt", "isic").reported == pytest.approx(0.671)
    assert entry(table, "ldt", "isic").difference is None
    assert entry(table, "ldt", "cells").reported is None
    assert any("Study B" in note for note in table.notes)


def test_reported_numbers_of_another_share_of_labels_or_metric_are_left_out(
    tmp_path: Path, plan: Plan, store: Store, score: Score
) -> None:
    score("isic/0.1/im", 1, 0.7, metric="dice")
    assert entry(results_table(plan, store), "im", "isic").reported is None
    path = tmp_path / "tiny.yaml"
    text = path.read_text().replace("{reference: isic2018}", "{reference: isic2018, labelled: 0.2}")
    path.write_text(text)
    fifth = results_table(make_plan(path, tmp_path / "runs", tmp_path / "data"), store)
    assert entry(fifth, "im", "isic").reported is None
    assert entry(fifth, "fdt", "isic").reported == pytest.approx(0.751)
    assert any("Study B" in note and "split 1/10, not 1/5" in note for note in fifth.notes)


def test_the_footer_tells_the_protocol_and_the_origin(
    plan: Plan, store: Store, score: Score
) -> None:
    score("isic/0.1/im", 1, 0.7, 0.8)
    notes = "\n".join(results_table(plan, store).notes)
    for said in (
        "150 iterations for every training",
        "test images are read once",
        "Of several generations, the last",
        "U-Net: momentum 0.067 by the number of iterations (isic, cells); the original's is 0.01",
        "seeds 1, 2, 3",
        "10% of isic, cells",
        "cells: built-in",
        "commit 0123456789",
        "torch 2.13.0",
        "data set 'isic' is not at",
    ):
        assert said in notes
    assert "isic: built-in" not in notes


@pytest.mark.parametrize("metric", [name for name, kind in METRICS.items() if kind.headline])
def test_footers_say_what_each_headline_metric_is(plan: Plan, store: Store, metric: str) -> None:
    (cell,) = [cell for cell in plan.cells if cell.name == "isic/0.1/ldt"]
    finish(store, plan, plan.graph[cell.finals[1]], outcome_of(metric, [0.7]))
    notes = results_table(plan, store).notes
    kind = METRICS[metric]
    assert f"Scores: {kind.title} (isic) is {kind.definition}." in notes
    assert higher_is_better(metric) == (metric != "mcce")


def test_the_footer_tells_each_momentum_of_the_same_data(tmp_path: Path, store: Store) -> None:
    data = "{synth: {like: hela}, size: [64, 64], model: {norm_momentum: "
    (tmp_path / "same.yaml").write_text(
        f"name: same\nbudget: equal\nmethods: {{ldt: {{}}}}\n"
        f"data:\n  a: {data}0.01}}}}\n  b: {data}0.1}}}}\n"
    )
    plan = make_plan(tmp_path / "same.yaml", tmp_path / "runs", tmp_path / "data")
    notes = "\n".join(results_table(plan, store).notes)
    assert "of the U-Net: momentum 0.1 (b); the original's is 0.01" in notes


def test_the_footer_begins_with_what_trainings_warn_of(plan: Plan, store: Store) -> None:
    (cell,) = [cell for cell in plan.cells if cell.name == "isic/0.1/ldt"]
    for seed, key in cell.finals.items():
        warning = {"warning": "every pixel is background: train longer"} if seed > 1 else {}
        finish(store, plan, plan.graph[key], {**outcome_of("iou", [0.5]), **warning})
    first, *_ = results_table(plan, store).notes
    assert first == (
        "Warning: isic/0.1/ldt/s2, isic/0.1/ldt/s3: every pixel is background: train longer."
    )


def test_generations_hold_scores_and_shares(plan: Plan, store: Store, score: Score) -> None:
    for seed, base in ((1, 0.5), (2, 0.6), (3, 0.7)):
        score("isic/0.1/im", seed, base, base + 0.1, shares=[0.25, 0.75])
    table = generations_table(plan, store)
    assert {row.method for row in table.rows} == {"im"}
    rows = {row.quantity: row.entries for row in table.rows if row.column.data == "isic"}
    assert [one.mean for one in rows["test"]] == pytest.approx([0.6, 0.7])
    assert [one.std for one in rows["test"]] == pytest.approx([0.1, 0.1])
    assert [one.mean for one in rows["images_kept"]] == pytest.approx([0.25, 0.75])
    assert "label_accuracy" not in rows
    holes = next(row for row in table.rows if row.column.data == "cells")
    assert [one.state for one in holes.entries] == [State.PLANNED] * 2


def test_a_generation_without_labels_of_its_own_has_a_column_too(
    plan: Plan, store: Store, score: Score
) -> None:
    im = plan.graph[plan.cell("isic/0.1/im").finals[1]]
    inputs = {role: [plan.graph[k] for k in keys] for role, keys in im.inputs.items()}
    del inputs["labels-2"]
    final = plan.graph.add("evaluate", replace(im.coordinates, method="own"), im.config, inputs)
    plan.cells.append(Cell("isic", "0.1", "own", "My own", {1: final.key}))
    score("isic/0.1/own", 1, 0.5, 0.6)
    rows = [row for row in generations_table(plan, store).rows if row.method == "own"]
    assert [[one.mean for one in row.entries] for row in rows] == [[0.5, 0.6]]


def test_long_rows_are_the_numbers_behind_the_tables(
    plan: Plan, store: Store, score: Score
) -> None:
    score("isic/0.1/im", 2, 0.5, 0.6, shares=[0.25, 0.75])
    first, second = long_rows(plan, store)
    assert (first["seed"], first["generation"], first["in_table"]) == (2, 1, False)
    assert (second["test"], second["images_kept"], second["in_table"]) == (0.6, 0.75, True)
    assert second["val"] == pytest.approx(0.61)
