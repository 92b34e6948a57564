"""Lists of any length."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from im_bench.cli.listing import MOST_DRAWN, print_rows


def test_long_lists_are_plain_columns_with_the_same_content(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = Console(file=io.StringIO(), width=80)
    rows = [[f"cell{i}", "done" if i % 2 else "failed 3/4"] for i in range(MOST_DRAWN + 1)]
    print_rows(console, "all", ["cell", "s1"], rows)
    title, names, *lines = capsys.readouterr().out.splitlines()
    assert (title, names.split()) == ("all", ["cell", "s1"])
    assert [line.split(maxsplit=1) for line in lines] == rows
    assert len({len(line) for line in lines}) == 1
    print_rows(console, "some", ["cell", "s1"], rows[:3], {"failed": "red"})
    assert isinstance(console.file, io.StringIO)
    drawn = console.file.getvalue()
    assert all(text in drawn for row in rows[:3] for text in row)
