from __future__ import annotations

from dataclasses import replace

import pytest

from im_bench.planning.plan import Plan
from im_bench.report.tables.build import generations_table, results_table
from im_bench.report.tables.html import render_html, render_html_page
from im_bench.runner.store import Store

from .documents import Element, read_html

EVIL = "<script>alert('x')</script> & \"quoted\""


def row_of(root: Element, method: str) -> Element:
    return next(row for row in root.all("tr") if row.attributes.get("data-method") == method)


def test_entries_hold_texts_and_the_numbers_behind_them(filled: Plan, store: Store) -> None:
    root = read_html(render_html(results_table(filled, store)))
    isic, cells = row_of(root, "ldt").all("td")[:2]
    assert isic.words == "62.0 ± 1.0 67.1 (−5.1)"
    assert float(isic.attributes["data-value"]) == pytest.approx(0.62)
    assert float(isic.attributes["data-difference"]) == pytest.approx(-0.051)
    assert isic.attributes["class"] == "entry state-done rank-1"
    assert [strong.words for strong in isic.all("strong")] == ["62.0"]
    assert cells.attributes["class"] == "entry state-planned"
    assert "data-value" not in cells.attributes
    assert [hole.words for hole in cells.all("em")] == ["planned"]
    partial = row_of(root, "im").all("td")[0]
    assert partial.words == "71.1 1 of 3, no data 72.3"
    assert (partial.attributes["data-n"], partial.attributes["data-seeds"]) == ("1", "3")


def test_every_row_has_a_cell_for_each_column(filled: Plan, store: Store) -> None:
    for table in (results_table(filled, store), generations_table(filled, store)):
        root = read_html(render_html(table))
        widths = {
            sum(int(c.attributes.get("colspan", 1)) for c in row.children) for row in root.all("tr")
        }
        assert len(widths) == 1
        assert len(root.all("li")) == len(table.notes)


def test_groups_span_their_columns(filled: Plan, store: Store) -> None:
    table = results_table(filled, store)
    columns = tuple(replace(c, group="both", label=f"1/{i}") for i, c in enumerate(table.columns))
    root = read_html(render_html(replace(table, columns=columns)))
    heads = [th for th in root.all("th") if th.attributes.get("scope") == "colgroup"]
    assert [(th.words, th.attributes["colspan"]) for th in heads] == [("both", "2")]


def test_no_text_becomes_markup(filled: Plan, store: Store) -> None:
    table = results_table(filled, store)
    rows = tuple(replace(row, title=EVIL, method=row.method) for row in table.rows)
    page = render_html_page(replace(table, name=EVIL, rows=rows, notes=(EVIL,)))
    root = read_html(page)
    assert root.all("script") == []
    assert root.all("caption")[0].words == EVIL
    assert root.all("li")[0].words == EVIL


def test_a_page_needs_nothing_else(filled: Plan, store: Store) -> None:
    page = render_html_page(results_table(filled, store))
    assert page.startswith("<!DOCTYPE html>")
    assert "http" not in page.replace("https://arxiv", "")
    assert "<script" not in page
    assert len(page) < 20_000
