"""Lists of any length: drawn as tables, or as plain columns where drawing would take long."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from im_bench.planning.plan import Plan
    from im_bench.runner.store import Store
    from im_bench.terminal import Console, Table

#: Rows up to which a table is drawn; Rich takes half a millisecond for each.
MOST_DRAWN = 2000


def print_rows(
    console: Console,
    title: str,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: dict[str, str] | None = None,
) -> None:
    """Print rows under a title; the first column is text, the others are aligned to the right.

    Args:
        console: Where to.
        title: Of the table.
        names: Of the columns.
        rows: With a text for each column.
        styles: Rich style of a text, by its first word.
    """
    if len(rows) > MOST_DRAWN:
        _print_plainly(title, names, rows)
        return
    console.print(draw(title, names, rows, styles))


def draw(
    title: str, names: Sequence[str], rows: Sequence[Sequence[str]], styles: dict[str, str] | None
) -> Table:
    """Return the table of `print_rows`."""
    from rich.text import Text

    from im_bench.terminal import Table

    table = Table(title=title)
    for position, name in enumerate(names):
        table.add_column(name, justify="right" if position and not styles else "left")
    for row in rows:
        first, *others = row
        table.add_row(
            first, *(Text(text, (styles or {}).get(text.partition(" ")[0], "")) for text in others)
        )
    return table


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as they are."""
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _print_plainly(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    form = f"{{:<{widths[0]}}}" + "".join(f"  {{:>{width}}}" for width in widths[1:])
    print_lines([title, form.format(*names), *(form.format(*row) for row in rows)])


def other_keys(store: Store, plan: Plan) -> str:
    """Say how many stages of a plan lie in a folder under other keys, or return an empty string."""
    count = store.namesakes(plan.graph) if store.stages.is_dir() else 0
    if not count:
        return ""
    return (
        f"{store.out} has {count} of this plan's {len(plan.graph)} stages under other keys, made "
        "by an earlier version of im-bench or with other settings or data: they do not count here, "
        "and `im-bench gc` lists them"
    )
