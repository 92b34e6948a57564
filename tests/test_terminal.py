"""What commands print is whole, whatever the width and the encoding."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich import console

from im_bench.terminal import (
    Console,
    Prose,
    Table,
    plain_text,
    shared,
    write_in_any_encoding,
)

URL = "https://github.com/somebody/a-repository-with-a-long-name/tree/main/folder"


def at(width: int, table: Table | Prose) -> str:
    page = console.Console(width=width, file=io.StringIO(), record=True)
    page.print(table, soft_wrap=True)
    return page.export_text()


def example() -> Table:
    table = Table("name", "where to get it", title="all [of] them", caption="the [last] line")
    table.add_column("score", justify="right")
    table.add_row("a[0]", f"see {URL}, please", "0.123456789 ± 0.000000001")
    table.add_row("[bold]", "nowhere", "")
    return table


@pytest.mark.parametrize("width", [5, 20, 40, 80, 200, 10_000])
def test_no_word_is_split_and_nothing_is_markup(width: int) -> None:
    said = at(width, example())
    words = ["a[0]", "[bold]", f"{URL},", "0.123456789", "0.000000001", "[of]", "[last]"]
    assert set(words) <= set(said.split())


def test_where_a_table_has_no_room_its_rows_are_lists() -> None:
    lines = at(40, example()).splitlines()
    assert lines[:2] == ["all [of] them", "name: a[0]"]
    assert "score: 0.123456789 ± 0.000000001" in lines
    assert lines[-5:] == ["", "name: [bold]", "where to get it: nowhere", "the [last] line", ""]


def test_a_table_with_room_has_the_width_of_the_terminal_at_most() -> None:
    table = Table("a", "b")
    table.add_row("many short words " * 5, "many more short words " * 9)
    lines = at(50, table).splitlines()
    assert lines[0].split() == ["a", "b"]
    assert max(map(len, lines)) <= 50
    assert at(50, table) == at(50, table)


def test_a_file_gets_lines_of_any_width() -> None:
    table = example()
    table.add_row("x " * 300, "", "")
    assert ("x " * 300).rstrip() in plain_text(table)
    assert plain_text(Prose("word " * 300)).strip() == ("word " * 300).strip()


def test_paragraphs_are_wrapped_between_words() -> None:
    assert at(20, Prose(f"a short word and {URL}", indent=1)).splitlines() == [
        " a short word and",
        f" {URL}",
    ]


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 60)), min_size=1), st.integers(0, 99))
def test_shared_widths_use_the_room(parts: list[tuple[int, int]], spare: int) -> None:
    least = [low for low, _ in parts]
    most = [low + more for low, more in parts]
    room = sum(least) + spare
    found = shared(least, most, room)
    assert all(a <= b <= c for a, b, c in zip(least, found, most, strict=True))
    assert sum(found) <= room


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_encoding_can_be_written(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", file)
    write_in_any_encoding()
    table = Table("métrique ↑")
    table.add_row("78.2 ± 1.3 − 魚 \udcff")
    Console().print(table)
    file.flush()
    said = file.buffer.raw.getvalue() if hasattr(file.buffer, "raw") else file.buffer.getvalue()  # type: ignore[attr-defined]
    text = said.decode(encoding)
    assert "78.2" in text
    assert "\\udcff" in text
    assert ("魚" in text) is (encoding == "utf-8")
    if encoding == "ascii":
        assert "78.2 +- 1.3 - \\u9b5a" in text
