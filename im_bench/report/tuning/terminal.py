"""A study in the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from im_bench.report.tuning.findings import Findings, worth_showing
from im_bench.report.tuning.texts import (
    description,
    field_text,
    nothing_text,
    own_text,
    params_text,
    reason_text,
    seconds_text,
    value_text,
)
from im_bench.terminal import Prose, Table
from im_bench.tuning.labels.balance import balance
from im_bench.tuning.study import TrialRecord, TrialState

STYLES = {
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAILED: "red",
    TrialState.LOST: "red",
    TrialState.RUNNING: "cyan",
}
#: Trials of a front that are shown unless all are asked for.
MOST_FRONT = 20
#: Characters of a number, between columns, and of the columns beside those of the fields.
NUMBER, GAP, OTHERS = 7, 3, 54
#: Head of the one column of all fields.
TOGETHER = "values"
#: Columns of words, each with its least width; all others are numbers.
WORDS = {"searched": 8, "state": 14, TOGETHER: 20}
BAR = 24


def render_study(found: Findings, every: bool = False, width: int = 100) -> RenderableType:
    """Return what ``im-bench tune show`` prints.

    Args:
        found: What is told.
        every: Whether all trials are listed, instead of those that tell the most.
        width: Characters of a line.
    """
    return Group(*_parts(found, every, _Columns(found, width)))


def _parts(found: Findings, every: bool, columns: _Columns) -> Iterator[RenderableType]:
    yield Text(found.name, style="bold")
    facts = Table.grid(padding=(0, 2))
    for name, words in description(found):
        facts.add_row(Text(name, style="dim"), words)
    yield facts
    yield ""
    if problem := nothing_text(found):
        yield Prose(problem)
    if found.best is not None:
        yield _best(found, found.best)
        if words := own_text(found):
            yield Prose(words)
        yield ""
        if found.several:
            yield _front(found, every, columns)
            yield ""
        yield from _importances(found)
    if any(record.params for record in found.records):
        yield ""
        yield _history(found, every, columns)


def _table(title: str, *head: str) -> Table:
    table = Table(title=title)
    for name in head:
        if name == "field":
            table.add_column(name, no_wrap=True)
        elif name in WORDS:
            table.add_column(name, min_width=WORDS[name])
        else:
            table.add_column(name, justify="right", no_wrap=True)
    return table


def _best(found: Findings, best: TrialRecord) -> Table:
    own = found.own
    title = "best balanced" if found.several else "best"
    heading = f"{title}: trial {best.number}"
    table = _table("What was found", "field", "searched", "the method's own", heading)
    for field in found.fields:
        tried = field_text(best.params.get(field.name, field.default))
        table.add_row(field.name, field.words, field_text(field.default), tried)
    table.add_section()
    for k, objective in enumerate(found.objectives):
        before = value_text(own.values[k]) if own and own.values else "–"
        table.add_row(Text(objective, "bold"), "", before, Text(value_text(best.values[k]), "bold"))
    return table


def _front(found: Findings, every: bool, columns: _Columns) -> Table:
    front = found.front
    shown = front if every else _spread(front, MOST_FRONT, found.best)
    of = f" ({len(shown)} of {len(front)}; --all shows all)" if len(shown) < len(front) else ""
    head = ("trial", *found.objectives, "balance", *columns.names)
    table = _table(f"Pareto front: none is better in both{of}", *head)
    for record in shown:
        table.add_row(
            str(record.number),
            *map(value_text, record.values),
            value_text(balance(*record.values)),
            *columns.values(record),
            style="bold" if record is found.best else "",
        )
    table.caption = "Balance: harmonic mean of the two; the greatest is bold"
    return table


def _spread(
    front: Sequence[TrialRecord], most: int, always: TrialRecord | None
) -> list[TrialRecord]:
    """Return so many of a front, evenly, and the one that must be among them."""
    if len(front) <= most:
        return list(front)
    places = {round(k * (len(front) - 1) / (most - 1)) for k in range(most)}
    return [one for k, one in enumerate(front) if k in places or one is always]


def _importances(found: Findings) -> Iterator[RenderableType]:
    if found.importances.problem:
        yield Prose(f"Importances: {found.importances.problem}.")
        return
    table = _table("Which fields matter", "field", "share", "")
    table.columns[-1].justify = "left"
    for name, share in found.importances.shares.items():
        table.add_row(name, f"{share:.2f}", Text("━" * round(BAR * share), "cyan"))
    table.caption = f"PED-ANOVA: what the best {found.importances.good:.0%} have in common"
    yield table


def _history(found: Findings, every: bool, columns: _Columns) -> Table:
    shown = found.records if every else worth_showing(found)
    title = "Trials"
    if len(shown) < len(found.records):
        of = f"{len(shown)} of {len(found.records)}"
        title += f" ({of}, those that tell the most; --all shows all)"
    best = () if found.several else ("best\nso far",)
    head = ("trial", *found.objectives, *best, *columns.names, "time", "state")
    table = _table(title, *head)
    for record in shown:
        state = Text(record.state.value, STYLES.get(record.state, "dim"))
        table.add_row(
            str(record.number),
            *(map(value_text, record.values) if record.values else [""] * len(found.objectives)),
            *(_so_far(found, record) for _ in best),
            *columns.values(record),
            seconds_text(record),
            state.append(f" {reason_text(record)}".rstrip(), "default"),
            style="bold" if record is found.best else "",
        )
    return table


def _so_far(found: Findings, record: TrialRecord) -> str:
    value = found.best_so_far.get(record.number)
    return "" if value is None else value_text(value)


class _Columns:
    """The columns of the fields of a trial: one for each, or one for all where there is no room."""

    def __init__(self, found: Findings, width: int) -> None:
        heads = [_broken(field.name) for field in found.fields]
        need = sum(max(NUMBER, *map(len, head.splitlines())) + GAP for head in heads)
        self._fields = found.fields if need <= width - OTHERS else ()
        self.names = heads if self._fields else [TOGETHER]

    def values(self, record: TrialRecord) -> list[str]:
        """Return what a trial has in these columns."""
        if not self._fields:
            return [params_text(record.params)]
        tried = record.params
        return [field_text(tried[one.name]) if one.name in tried else "" for one in self._fields]


def _broken(name: str) -> str:
    """Return a long field's name in lines."""
    return re.sub(r"([._])(?=\w{3})", r"\1\n", name)
