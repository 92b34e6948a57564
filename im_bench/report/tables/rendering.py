"""How tables look as Markdown and CSV; other formats have modules of their own."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from im_bench.report.tables import texts
from im_bench.report.tables.entries import Entry, GenerationsTable, ResultsTable
from im_bench.report.tables.terminal import plain_text, render_terminal

__all__ = ["flat_rows", "plain_text", "render_csv", "render_markdown", "render_terminal"]


def render_markdown(table: ResultsTable | GenerationsTable) -> str:
    """Return a table as GitHub's Markdown, with its notes as a list below."""
    if isinstance(table, GenerationsTable):
        head = ["", *map(str, range(1, table.generations + 1))]
        body = list(_generations_body(table))
        title = f"{table.name}, by generation"
    else:
        head = ["method", *(f"{c.name}<br>{texts.heading(c)}" for c in table.columns)]
        head += [f"{texts.MEAN_RANK} ↓"] if table.has_mean_ranks else []
        body = list(_results_body(table))
        title = table.name
    lines = [f"**{_plain(title)}**", "", _line(head), _line(["---"] + ["---:"] * (len(head) - 1))]
    lines += [_line(cells + [""] * (len(head) - len(cells))) for cells in body]
    return "\n".join([*lines, "", *(f"- {_plain(note)}" for note in table.notes)]) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _plain(text: str) -> str:
    """Return text in which nothing is markup: neither a tag, nor emphasis, nor a second line."""
    text = " ".join(text.split()).replace("\\", "\\\\").replace("<", "&lt;")
    for sign in "*`[":
        text = text.replace(sign, f"\\{sign}")
    return text


def _results_body(table: ResultsTable) -> Iterable[list[str]]:
    for section, rows in table.sections():
        if section:
            yield [f"*{_plain(section)}*"]
        for row in rows:
            entries = [table.entries.get((row.method, column.data)) for column in table.columns]
            yield [
                _plain(row.title),
                *(
                    _marked(entry, column.unit, table.seeds) if entry else ""
                    for entry, column in zip(entries, table.columns, strict=True)
                ),
                *([texts.mean_rank(row.mean_rank)] if table.has_mean_ranks and not section else []),
            ]


def _generations_body(table: GenerationsTable) -> Iterable[list[str]]:
    for column, rows in groupby(table.rows, lambda row: row.column):
        yield [f"**{column.name}** {texts.heading(column)}"]
        for row in rows:
            title, numbers = texts.generation_texts(row)
            title = _plain(title)
            yield [title if row.quantity == "test" else f"*{title}*", *numbers]


def _marked(entry: Entry, unit: str, usual: int) -> str:
    text = ""
    if entry.mean is not None:
        text = texts.number(entry.mean, unit) + texts.spread(entry, unit, usual)
    if text and entry.rank:
        text = f"**{text}**" if entry.rank == 1 else f"<u>{text}</u>"
    own = " ".join(part for part in (text, texts.gain(entry, unit)) if part)
    missing = f"*{texts.hole(entry)}*" if not entry.complete else ""
    return "<br>".join(line for line in (own, missing, texts.reported(entry, unit)) if line)


def flat_rows(table: ResultsTable) -> list[dict[str, Any]]:
    """Return one row per entry, in the units of the metrics (shares as fractions)."""
    return [
        {
            "data": column.data,
            "group": column.group,
            "split": column.split,
            "method": row.method,
            "title": row.title,
            "origin": row.origin,
            "all_labels": row.all_labels,
            "metric": column.metric,
            "mean": entry.mean,
            "std": entry.std,
            "n": entry.n,
            "seeds": len(entry.seeds),
            "state": entry.state.value,
            "rank": entry.rank,
            "base": row.base,
            "gain": entry.gain,
            "mean_rank": row.mean_rank,
            "reported": entry.reported,
            "difference": entry.difference,
            "reported_source": entry.source,
            "reported_approximate": entry.approximate,
        }
        for column in table.columns
        for row in table.rows
        if (entry := table.entries.get((row.method, column.data)))
    ]


def render_csv(rows: list[dict[str, Any]]) -> str:
    """Return rows as CSV.

    Args:
        rows: Those of :func:`flat_rows` or :func:`im_bench.report.tables.build.long_rows`, with the
            same keys each. Without any, the text is empty.
    """
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
