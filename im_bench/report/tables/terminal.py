"""Tables for terminals, of any width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from im_bench import terminal
from im_bench.report.tables import texts
from im_bench.report.tables.entries import Column, Entry, GenerationsTable, ResultsTable, State
from im_bench.terminal import Prose, Table

RANK_STYLES = {1: "bold", 2: "underline"}
STATE_STYLES = {State.FAILED: "red", State.RUNNING: "cyan"}


def render_terminal(table: ResultsTable | GenerationsTable) -> RenderableType:
    """Return a table for a Rich console; readable from 80 characters on."""
    if isinstance(table, GenerationsTable):
        return _with_notes(_generations(table), table.notes)
    return _with_notes(_Fitting(table), table.notes)


def plain_text(table: ResultsTable | GenerationsTable) -> str:
    """Return the terminal's table for a file: without colours, with lines of any width."""
    return terminal.plain_text(render_terminal(table))


class _Fitting:
    """A results table that puts gains on lines of their own, or columns below, where it must."""

    def __init__(self, table: ResultsTable) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table, columns, ranks = self._table, self._table.columns, self._table.has_mean_ranks

        def fits(part: Sequence[Column], inline: bool, ranks: bool) -> bool:
            frame = _results(table, part, inline, ranks)
            return frame.least(console) <= options.max_width

        if fits(columns, True, ranks):
            yield _results(table, columns, True, ranks)
            return
        rest = columns
        while rest:
            count = 1
            while count < len(rest) and fits(rest[: count + 1], False, False):
                count += 1
            last = ranks and count == len(rest) and fits(rest, False, True)
            yield _results(table, rest[:count], False, last)
            rest = rest[count:]
        if ranks and not last:
            yield _results(table, (), False, True)


def _results(
    table: ResultsTable,
    columns: Sequence[Column],
    inline: bool,
    ranks: bool,
) -> Table:
    """Return the frame of some of a table's columns.

    Args:
        table: The table.
        columns: Which of its columns.
        inline: Whether gains stand beside their means, not below.
        ranks: Whether mean ranks stand behind them.
    """
    frame = Table(title=table.name)
    frame.add_column("method", min_width=12)
    for column in columns:
        head = _head(column, columns, table)
        if not inline:
            head = head.replace("data-set ", "data-set\n")
        frame.add_column(head, justify="right", no_wrap=True)
    if ranks:
        frame.add_column(
            f"{texts.MEAN_RANK.replace(' ', chr(10))} ↓", justify="right", no_wrap=True
        )
    for section, rows in table.sections():
        if section:
            frame.add_section()
        if section.startswith("imported"):
            frame.add_row(Text(section, "italic"))
        for row in rows:
            entries = [table.entries.get((row.method, column.data)) for column in columns]
            cells: list[RenderableType] = [
                _styled(entry, column.unit, table.seeds, inline) if entry else ""
                for entry, column in zip(entries, columns, strict=True)
            ]
            if ranks:
                cells.append("" if row.section else texts.mean_rank(row.mean_rank))
            frame.add_row(row.title, *cells)
    return frame


def _head(column: Column, columns: Sequence[Column], table: ResultsTable) -> str:
    """Return a column's heading; the name of a group stands over its first column only."""
    if not any(one.group for one in table.columns):
        return f"{column.data}\n{texts.heading(column)}"
    first = next((one for one in columns if one.group == column.group), column)
    group = (column.group if column is first else "") if column.group else ""
    return f"{group}\n{column.label or column.data}\n{texts.heading(column)}"


def _styled(entry: Entry, unit: str, usual: int, inline: bool) -> Text:
    """Return an entry's lines: ours with its gain, what is missing, what is reported."""
    style = RANK_STYLES.get(entry.rank or 0, "") if entry.complete else "dim"
    own = Text()
    if entry.mean is not None:
        own = Text(texts.number(entry.mean, unit) + texts.spread(entry, unit, usual), style)
    gain = Text(texts.gain(entry, unit))
    lines = [Text(" ").join([own, gain])] if inline and gain else [own, gain]
    lines += [
        Text(texts.hole(entry), STATE_STYLES.get(entry.state, "dim")),
        Text(texts.reported(entry, unit), "dim"),
    ]
    return Text("\n").join(line for line in lines if line)


def _with_notes(table: RenderableType, notes: Iterable[str]) -> RenderableType:
    return Group(table, *(Prose(note, "dim", indent=1) for note in notes))


def _generations(table: GenerationsTable) -> Table:
    frame = Table(title=f"{table.name}, by generation")
    frame.add_column("")
    for g in range(1, table.generations + 1):
        frame.add_column(str(g), justify="right", no_wrap=True)
    for column, rows in groupby(table.rows, lambda row: row.column):
        frame.add_section()
        frame.add_row(Text(f"{column.name} {texts.heading(column)}", "bold"))
        for row in rows:
            title, numbers = texts.generation_texts(row)
            frame.add_row(title, *numbers, style="" if row.quantity == "test" else "dim")
    return frame
