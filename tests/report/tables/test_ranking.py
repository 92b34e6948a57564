from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from im_bench.report.tables.entries import Column, Entry, Row, State
from im_bench.report.tables.ranking import marked, with_mean_ranks

COLUMNS = [Column("a", "0.1", "iou"), Column("b", "0.1", "mcce"), Column("c", "0.1", "miou")]


def full(score: float) -> Entry:
    return Entry({1: score}, (1,), State.DONE)


tables = st.integers(2, 6).flatmap(
    lambda rows: st.lists(
        st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=rows, max_size=rows
    )
)


@given(tables)
def test_mean_ranks_are_those_of_scipy(scores: list[list[int]]) -> None:
    rows = [Row(f"m{i}", "", False) for i in range(len(scores))]
    entries = {
        (row.method, column.data): full(score / 10)
        for row, some in zip(rows, scores, strict=True)
        for column, score in zip(COLUMNS, some, strict=True)
    }
    signed = np.array(scores) * np.array([-1, 1, -1])
    wanted = np.mean([rankdata(column) for column in signed.T], axis=0)
    found = with_mean_ranks(rows, COLUMNS, entries)
    assert [row.mean_rank for row in found] == pytest.approx(wanted.tolist())


def test_a_hole_takes_its_row_out_and_moves_nobody_else() -> None:
    rows = [Row(name, "", False) for name in "xyz"] + [Row("fdt", "", True)]
    entries = {
        (row.method, column.data): full(score)
        for row, score in zip(rows, (0.3, 0.9, 0.2, 1.0), strict=True)
        for column in COLUMNS
    }
    entries["y", "c"] = Entry({1: 0.9}, (1, 2), State.FAILED)
    found = {row.method: row.mean_rank for row in with_mean_ranks(rows, COLUMNS, entries)}
    # Of x and z alone: x is first in iou and miou, second in the counting error.
    assert found == {
        "x": pytest.approx(4 / 3),
        "y": None,
        "z": pytest.approx(5 / 3),
        "fdt": None,
    }


def test_one_column_or_one_complete_row_makes_no_mean_rank() -> None:
    rows = [Row("x", "", False), Row("y", "", False)]
    entries = {(row.method, c.data): full(0.5) for row in rows for c in COLUMNS}
    assert all(r.mean_rank is None for r in with_mean_ranks(rows, COLUMNS[:1], entries))
    del entries["y", "a"]
    assert all(r.mean_rank is None for r in with_mean_ranks(rows, COLUMNS, entries))


def test_gains_are_over_the_base_where_both_are_complete() -> None:
    rows = [Row("u2pl", "", False), Row("u2pl+im", "", False, base="u2pl")]
    entries = {
        ("u2pl", "a"): Entry({1: 0.70, 2: 0.72}, (1, 2), State.DONE),
        ("u2pl+im", "a"): Entry({1: 0.74, 2: 0.74}, (1, 2), State.DONE),
    }
    found = marked(entries, rows, COLUMNS[:1])
    assert found["u2pl+im", "a"].gain == pytest.approx(0.03)
    assert found["u2pl", "a"].gain is None
    for key in entries:
        holed = {**entries, key: replace(entries[key], seeds=(1, 2, 3), state=State.FAILED)}
        assert marked(holed, rows, COLUMNS[:1])["u2pl+im", "a"].gain is None


def test_imported_rows_are_neither_ranked_nor_bases_of_ours() -> None:
    rows = [
        Row("im", "", False),
        Row("ldt", "", False),
        Row("im@lab", "", False, origin="lab"),
    ]
    entries = {
        ("im", "a"): full(0.5),
        ("ldt", "a"): full(0.4),
        ("im@lab", "a"): full(0.9),
    }
    found = marked(entries, rows, COLUMNS[:1])
    assert [found[row.method, "a"].rank for row in rows] == [1, 2, None]
