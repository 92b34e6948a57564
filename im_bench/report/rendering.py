"""How tables look: in a terminal, in Markdown, as CSV. What they mean is not decided here."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from im_bench.report.entries import (
    Column,
    Entry,
    GenerationRow,
    GenerationsTable,
    ResultsTable,
    State,
)

QUANTITIES = {
    "images_kept": "images kept %",
    "pixels_kept": "pixels kept %",
    "label_accuracy": "right labels %",
}
RANK_STYLES = {1: "bold", 2: "underline"}
STATE_STYLES = {State.FAILED: "red", State.RUNNING: "cyan"}


def number(value: float, unit: str, sign: bool = False) -> str:
    """Return a number as tables print it: shares in per cent, counts as they are, one decimal."""
    scaled = round(100 * value if unit == "%" else value, 1) + 0.0
    return f"{scaled:{'+' if sign else ''}.1f}".replace("-", "−")


def measured(entry: Entry, unit: str, spread: bool = True) -> str:
    """Return ``61.2 ± 0.4``, ``61.2``, or an empty string."""
    if entry.mean is None:
        return ""
    text = number(entry.mean, unit)
    return f"{text} ± {number(entry.std, unit)}" if spread and entry.std is not None else text


def hole(entry: Entry) -> str:
    """Return what is missing: ``failed``, ``2 of 3, failed``, or an empty string."""
    if entry.complete:
        return ""
    return f"{entry.n} of {len(entry.seeds)}, {entry.state.value}" if entry.n else entry.state.value


def reported(entry: Entry, unit: str) -> str:
    """Return ``75.1 (−0.3)``: the reported number, and ours minus it."""
    if entry.reported is None:
        return ""
    text = number(entry.reported, unit)
    if entry.difference is None:
        return text
    return f"{text} ({number(entry.difference, unit, sign=True)})"


def heading(column: Column) -> str:
    """Return the metric with its unit and the direction in which it is better: ``IoU % ↑``."""
    if not column.metric:
        return ""
    names = {
        "iou": "IoU",
        "miou": "mIoU",
        "miou_dataset": "data-set mIoU",
        "mcce": "MCCE",
        "miou_ad": "mIoU_ad",
        "dice": "Dice",
    }
    name = names.get(column.metric, column.metric)
    arrow = "↑" if column.higher else "↓"
    return f"{name} % {arrow}" if column.unit == "%" else f"{name} {arrow}"


def _styled(entry: Entry, unit: str) -> Text:
    """Return an entry's lines: ours, what is missing, what is reported."""
    lines = [
        (measured(entry, unit), RANK_STYLES.get(entry.rank or 0, "") if entry.complete else "dim"),
        (hole(entry), STATE_STYLES.get(entry.state, "dim")),
        (reported(entry, unit), "dim"),
    ]
    return Text("\n").join(Text.assemble(line) for line in lines if line[0])


def _with_notes(table: Table, notes: Iterable[str]) -> RenderableType:
    lines = [Padding(Text(note, "dim"), (0, 0, 0, 1)) for note in notes]
    return Group(table, *lines)


def plain_text(table: ResultsTable | GenerationsTable, width: int = 120) -> str:
    """Return the terminal's table without colours, for a file ``width`` characters wide."""
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(render_terminal(table))
    return "".join(line.rstrip() + "\n" for line in console.export_text().splitlines())


def _frame(title: str) -> Table:
    return Table(
        title=title,
        box=box.SIMPLE_HEAD,
        title_style="bold",
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )


def render_terminal(table: ResultsTable | GenerationsTable) -> RenderableType:
    """Return a table for a Rich console; readable from 80 characters on."""
    if isinstance(table, GenerationsTable):
        return _generations_terminal(table)
    frame = _frame(table.name)
    frame.add_column("method", min_width=12)
    for column in table.columns:
        frame.add_column(f"{column.data}\n{heading(column)}", justify="right")
    for row, following in zip(table.rows, (*table.rows[1:], None), strict=True):
        entries = [table.entries.get((row.method, column.data)) for column in table.columns]
        frame.add_row(
            row.title,
            *(
                _styled(entry, column.unit) if entry else ""
                for entry, column in zip(entries, table.columns, strict=True)
            ),
            end_section=following is not None and following.all_labels > row.all_labels,
        )
    return _with_notes(frame, table.notes)


def _generations_terminal(table: GenerationsTable) -> RenderableType:
    frame = _frame(f"{table.name}, by generation")
    frame.add_column("")
    for g in range(1, table.generations + 1):
        frame.add_column(str(g), justify="right", no_wrap=True)
    for column, rows in _by_data(table):
        frame.add_section()
        frame.add_row(Text(f"{column.data} {heading(column)}", "bold"))
        for row in rows:
            title, texts = _generation_texts(row)
            frame.add_row(title, *texts, style="" if row.quantity == "test" else "dim")
    return _with_notes(frame, table.notes)


def _by_data(table: GenerationsTable) -> Iterable[tuple[Column, list[GenerationRow]]]:
    return ((column, list(rows)) for column, rows in groupby(table.rows, lambda row: row.column))


def _generation_texts(row: GenerationRow) -> tuple[str, list[str]]:
    """Return a row's title, with what is missing in all of its generations, and its numbers."""
    if row.quantity != "test":
        return QUANTITIES[row.quantity], [measured(e, "%", spread=False) for e in row.entries]
    missing = hole(row.entries[0])
    title = f"{row.title}: {missing}" if missing else row.title
    return title, [measured(entry, row.column.unit) for entry in row.entries]


def render_markdown(table: ResultsTable | GenerationsTable) -> str:
    """Return a table as GitHub's Markdown, with its notes as a list below."""
    if isinstance(table, GenerationsTable):
        head = ["", *map(str, range(1, table.generations + 1))]
        body = list(_generations_body(table))
        title = f"{table.name}, by generation"
    else:
        head = ["method", *(f"{c.data}<br>{heading(c)}" for c in table.columns)]
        body = list(_results_body(table))
        title = table.name
    lines = [f"**{title}**", "", _line(head), _line(["---"] + ["---:"] * (len(head) - 1))]
    lines += [_line(cells + [""] * (len(head) - len(cells))) for cells in body]
    return "\n".join([*lines, "", *(f"- {note}" for note in table.notes)]) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _results_body(table: ResultsTable) -> Iterable[list[str]]:
    apart = False
    for row in table.rows:
        if row.all_labels and not apart:
            apart = True
            yield ["*with all labels*"]
        entries = [table.entries.get((row.method, column.data)) for column in table.columns]
        yield [
            row.title,
            *(
                _marked(entry, column.unit) if entry else ""
                for entry, column in zip(entries, table.columns, strict=True)
            ),
        ]


def _generations_body(table: GenerationsTable) -> Iterable[list[str]]:
    for column, rows in _by_data(table):
        yield [f"**{column.data}** {heading(column)}"]
        for row in rows:
            title, texts = _generation_texts(row)
            yield [title if row.quantity == "test" else f"*{title}*", *texts]


def _marked(entry: Entry, unit: str) -> str:
    text = measured(entry, unit)
    if text and entry.rank:
        text = f"**{text}**" if entry.rank == 1 else f"<u>{text}</u>"
    missing = f"*{hole(entry)}*" if not entry.complete else ""
    return "<br>".join(line for line in (text, missing, reported(entry, unit)) if line)


def flat_rows(table: ResultsTable) -> list[dict[str, Any]]:
    """Return one row per entry, in the units of the metrics (shares as fractions)."""
    return [
        {
            "data": column.data,
            "split": column.split,
            "method": row.method,
            "title": row.title,
            "all_labels": row.all_labels,
            "metric": column.metric,
            "mean": entry.mean,
            "std": entry.std,
            "n": entry.n,
            "seeds": len(entry.seeds),
            "state": entry.state.value,
            "rank": entry.rank,
            "reported": entry.reported,
            "difference": entry.difference,
        }
        for column in table.columns
        for row in table.rows
        if (entry := table.entries.get((row.method, column.data)))
    ]


def render_csv(rows: list[dict[str, Any]]) -> str:
    """Return rows as CSV.

    Args:
        rows: Those of :func:`flat_rows` or :func:`im_bench.report.tables.long_rows`, with the same
            keys each. Without any, the text is empty.
    """
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
