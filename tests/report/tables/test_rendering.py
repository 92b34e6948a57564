from __future__ import annotations

import io
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from im_bench.planning.plan import Plan
from im_bench.report.tables.build import generations_table, results_table
from im_bench.report.tables.entries import Column, Entry, GenerationsTable, ResultsTable, Row, State
from im_bench.report.tables.ranking import marked, with_mean_ranks
from im_bench.report.tables.rendering import flat_rows, render_csv, render_markdown, render_terminal
from im_bench.report.tables.texts import hole, measured, number, reported
from im_bench.runner.store import Store


def terminal(table: ResultsTable | GenerationsTable, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(render_terminal(table))
    return console.export_text().splitlines()


@given(st.floats(-1, 1))
def test_shares_are_printed_in_per_cent_with_one_decimal(value: float) -> None:
    text = number(value, "%").replace("−", "-")
    assert float(text) == pytest.approx(100 * value, abs=0.0501)
    assert text != "-0.0"


def test_the_texts_of_entries() -> None:
    full = Entry({1: 0.60, 2: 0.62}, (1, 2), State.DONE, reported=0.615)
    assert (measured(full, "%"), hole(full)) == ("61.0 ± 1.4", "")
    assert reported(full, "%") == "61.5 (−0.5)"
    some = Entry({1: 2.5}, (1, 2, 3), State.FAILED, reported=2.4)
    assert (measured(some, "cells"), hole(some)) == ("2.5", "1 of 3, failed")
    assert reported(some, "cells") == "2.4"
    none = Entry({}, (1,), State.NO_DATA)
    assert (measured(none, "%"), hole(none), reported(none, "%")) == ("", "no data", "")


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_tables_fit_and_lose_nothing(filled: Plan, store: Store, width: int) -> None:
    table = results_table(filled, store)
    lines = terminal(table, width)
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= width
    assert "…" not in text
    for said in ("62.0 ± 1.0", "67.1 (−5.1)", "71.1", "1 of 3, no data", "72.3", "IoU % ↑"):
        assert said in text
    labelled = next(i for i, line in enumerate(lines) if "IM" in line)
    assert labelled < next(i for i, line in enumerate(lines) if "FDT" in line)


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_tables_of_generations_fit(filled: Plan, store: Store, width: int) -> None:
    lines = terminal(generations_table(filled, store), width)
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= width
    for said in ("65.0 71.1", "images kept % 90.0 95.0", "1 of 3, no data"):
        assert said in text


def test_best_and_second_best_are_styled(filled: Plan, store: Store) -> None:
    console = Console(width=120, file=io.StringIO(), force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(render_terminal(results_table(filled, store)))
    assert "\x1b[1m62.0 ± 1.0\x1b[0m" in capture.get()
    assert "\x1b[4m50.0 ± 0.0\x1b[0m" in capture.get()
    assert "75.0 ± 0.0" in capture.get()
    assert "\x1b[1m75.0" not in capture.get()


def test_markdown_is_one_well_formed_table(filled: Plan, store: Store) -> None:
    for table in (results_table(filled, store), generations_table(filled, store)):
        rows = [line for line in render_markdown(table).splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) == 1
        assert len(rows) >= 4
    text = render_markdown(results_table(filled, store))
    assert "**62.0 ± 1.0**<br>67.1 (−5.1)" in text
    assert "<u>50.0 ± 0.0</u>" in text
    assert "71.1<br>*1 of 3, no data*<br>72.3" in text
    assert "*with all labels*" in text


def test_csv_reads_back(filled: Plan, store: Store) -> None:
    table = results_table(filled, store)
    frame = pd.read_csv(io.StringIO(render_csv(flat_rows(table))))
    assert len(frame) == 8
    row = frame[(frame.method == "ldt") & (frame.data == "isic")].iloc[0]
    assert row["mean"] == pytest.approx(0.62)
    assert row["std"] == pytest.approx(0.01)
    assert (row["n"], row["state"], row["rank"]) == (3, "done", 1)
    assert row["difference"] == pytest.approx(-0.051)


def test_csv_of_nothing_is_empty() -> None:
    assert render_csv([]) == ""


def masked(columns: int) -> ResultsTable:
    """Return a table of a method without and with masks, ours and imported, on many splits."""
    shown = tuple(Column(f"cs-1-{2**i}", "file", "iou", "cs", f"1/{2**i}") for i in range(columns))
    rows = (
        Row("u2pl", "U2PL", False),
        Row("u2pl+im", "U2PL + IM", False, base="u2pl"),
        Row("u2pl@lab-b", "U2PL", False, origin="lab-b"),
    )
    entries = {}
    for column in shown:
        entries["u2pl", column.data] = Entry({1: 0.70, 2: 0.72}, (1, 2), State.DONE)
        entries["u2pl+im", column.data] = Entry({1: 0.73, 2: 0.73}, (1, 2), State.DONE)
        scores = dict.fromkeys(range(5), 0.75)
        entries["u2pl@lab-b", column.data] = Entry(scores, tuple(range(5)), State.DONE)
    ranked = marked(entries, rows, shown)
    return ResultsTable("t", shown, with_mean_ranks(rows, shown, ranked), ranked, ("a note",))


def test_gains_stand_beside_the_means_and_below_where_there_is_no_room() -> None:
    table = masked(4)
    wide, narrow = terminal(table, 120), terminal(table, 72)
    assert sum("73.0 ± 0.0 (+2.0)" in line for line in wide) == 1
    assert not any("± 0.0 (+2.0)" in line for line in narrow)
    assert sum(line.count("(+2.0)") for line in narrow) == 4
    assert "**73.0 ± 0.0** (+2.0)" in render_markdown(table)


@pytest.mark.parametrize("width", [40, 60, 80, 160])
@pytest.mark.parametrize("columns", [1, 5, 12])
def test_tables_of_any_width_lose_nothing(width: int, columns: int) -> None:
    table = masked(columns)
    lines = terminal(table, width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert "…" not in text
    assert text.count("71.0 ± 1.4") == columns
    assert text.count("(+2.0)") == columns
    assert all(f"1/{2**i}" in text for i in range(columns))
    assert text.count("mean") == text.count("rank ↓") == (1 if columns > 1 else 0)


def test_other_numbers_of_seeds_are_said() -> None:
    for text in ("\n".join(terminal(masked(2), 120)), render_markdown(masked(2))):
        assert text.count("75.0 ± 0.0 (n = 5)") == 2
        assert "imported from lab-b" in text
        assert "(n = 2)" not in text


def test_titles_and_notes_are_no_markdown() -> None:
    table = replace(masked(1), name="*a*", notes=("<b>`x` [y]</b>",))
    text = render_markdown(table)
    assert text.startswith("**\\*a\\***")
    assert "- &lt;b>\\`x\\` \\[y]&lt;/b>" in text
