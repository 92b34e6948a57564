"""How statistics look: in a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Group, RenderableType

from im_bench import terminal
from im_bench.report.statistics.comparison import Comparison, Overall, TaskComparison, listing
from im_bench.report.statistics.conclusions import (
    SCOPE,
    conclusion,
    estimate_text,
    family_conclusion,
    p_text,
)
from im_bench.report.statistics.estimates import pairs_needed
from im_bench.report.statistics.summary import Improvement, Summary
from im_bench.report.tables.texts import heading, number
from im_bench.terminal import Prose, Table

#: Quantiles of the scores at which profiles are shown as a table.
PROFILE_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Sheet:
    """A table of texts; lines of a cell are separated by line breaks."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Page:
    """Tables, what can be concluded from them, and what a reader must know."""

    sheets: tuple[Sheet, ...]
    conclusion: str
    notes: tuple[str, ...]


def comparison_page(comparison: Comparison, notes: Sequence[str] = ()) -> Page:
    """Return what ``im-bench compare`` shows.

    Args:
        comparison: Of two sides.
        notes: How their numbers were made.
    """
    first, second = comparison.sides
    sheets = []
    if comparison.overall is not None:
        head = ("data set", first, second, "difference [95 %]", f"{first}\nis better")
        rows = tuple(_task_row(task) for task in comparison.tasks)
        sheets = [
            Sheet(f"{comparison.name}: {first} against {second}", head, rows),
            _overall_sheet(comparison, comparison.overall),
        ]
    return Page(
        tuple(sheets),
        conclusion(comparison),
        (
            *(f"Missing: {hole}" for hole in comparison.holes),
            SCOPE,
            f"Difference: {first} minus {second}, over pairs of the same seed, with Student's "
            "interval of each data set; overall as a share of the mean score of a data set, so "
            "that units do not matter, and positive where the first is better, with stratified "
            "bootstrap intervals (10,000 draws). What the numbers mean: docs/statistics.md.",
            *_why_no_interval(comparison.overall.interval_problem if comparison.overall else ""),
            *notes,
        ),
    )


def _task_row(task: TaskComparison) -> tuple[str, ...]:
    unit = task.column.unit
    means = (number(mean, unit) for mean in task.means)
    return (
        f"{task.column.data} {task.column.split}\n{heading(task.column)}",
        *means,
        estimate_text(task.difference, unit),
        f"{task.wins} of {len(task.seeds)}",
    )


def _overall_sheet(comparison: Comparison, overall: Overall) -> Sheet:
    first, second = comparison.sides
    if overall.p is None:
        test = f"no p: {comparison.pairs} of at least {pairs_needed()} pairs"
    else:
        test = p_text(overall.p)
    rows = (
        ("mean difference, % of the score", estimate_text(overall.mean, "%")),
        ("the same, interquartile mean", estimate_text(overall.iqm, "%")),
        (
            f"probability that {first} beats {second}, %",
            estimate_text(overall.probability, "%", sign=False),
        ),
        ("sign-flip test", test),
    )
    tasks = len(comparison.tasks)
    over = f"{tasks} data set{'s' if tasks > 1 else ''}, {comparison.pairs} pairs"
    return Sheet("overall", (over, "[95 %]"), rows)


def _why_no_interval(problem: str) -> list[str]:
    return [f"No bootstrap intervals: {problem}."] if problem else []


def summary_page(summary: Summary, notes: Sequence[str] = ()) -> Page:
    """Return what ``im-bench stats`` shows.

    Args:
        summary: Of all methods of a suite.
        notes: How their numbers were made.
    """
    if summary.baseline:
        scale = (
            f"Scores: gains over the mean of {summary.baseline} on each data set, in % of it "
            "(of an error: what is saved)."
        )
    else:
        scale = (
            "Scores: 0 is the worst method's mean on each data set, 1 the best one's, so that IoU "
            "and MCCE can be averaged; they depend on which methods are compared."
        )
    tasks = [
        f"{data} {split} (seed{'s' if len(seeds) > 1 else ''} {listing(seeds)})"
        for data, split, seeds in summary.tasks
    ]
    sheets = (_methods_sheet(summary), _profile_sheet(summary), _improvements_sheet(summary))
    return Page(
        tuple(sheet for sheet in sheets if sheet.rows),
        family_conclusion(summary),
        (
            *summary.holes,
            SCOPE,
            scale,
            f"Over {'; '.join(tasks)}. What the numbers mean: docs/statistics.md.",
            *(
                ["Difference: in % of the mean of both, positive where the first is better."]
                if summary.improvements
                else []
            ),
            *(
                _why_no_interval(summary.interval_problem)
                or ["Intervals: stratified bootstrap over seeds, 95 %, 10,000 draws."]
            ),
            *notes,
        ),
    )


def _score(value: float, summary: Summary) -> str:
    return number(value, "%", sign=True) if summary.baseline else f"{value:.2f}".replace("-", "−")


def _methods_sheet(summary: Summary) -> Sheet:
    unit = " %" if summary.baseline else ""
    rows = []
    for one in summary.methods:
        text = _score(one.iqm.value, summary)
        if one.iqm.interval:
            low, high = (_score(limit, summary) for limit in one.iqm.interval)
            text = f"{text} [{low}, {high}]"
        rows.append((one.title, text, estimate_text(one.rank, "", sign=False)))
    head = ("method", f"interquartile\nmean{unit} [95 %] ↑", "mean rank\n[95 %] ↓")
    return Sheet(f"{summary.name}: all methods", head, tuple(rows))


def _profile_sheet(summary: Summary) -> Sheet:
    """Return the profiles at a few thresholds, which are quantiles of what all methods reach."""
    shares = np.array([one.profile for one in summary.methods])
    mean, taus = shares.mean(0), np.array(summary.taus)
    places = [int(np.argmin(abs(mean - (1 - q)))) for q in PROFILE_QUANTILES]
    places = list(dict.fromkeys(places))
    rows = tuple(
        (one.title, *(f"{100 * one.profile[place]:.0f}" for place in places))
        for one in summary.methods
    )
    head = ("% of runs with a score of at least", *(_score(taus[p], summary) for p in places))
    return Sheet("performance profile", head, rows)


def _improvements_sheet(summary: Summary) -> Sheet:
    family = len(summary.improvements)
    rows = tuple(_improvement_row(one, family) for one in summary.improvements)
    head = (
        "method, base",
        "better in",
        "probability to\nimprove % [95 %]",
        "difference\n% [95 %]",
        "p (Holm)",
    )
    return Sheet("improvement on the base", head, rows)


def _improvement_row(one: Improvement, family: int) -> tuple[str, ...]:
    comparison, overall = one.comparison, one.comparison.overall
    names = f"{comparison.sides[0]},\n{comparison.sides[1]}"
    if overall is None:
        return names, "no pair", "", "", ""
    return (
        names,
        f"{comparison.wins} of {comparison.pairs}",
        estimate_text(overall.probability, "%", sign=False),
        estimate_text(overall.mean, "%"),
        f"none: {pairs_needed(family)}\npairs needed"
        if one.p is None
        else p_text(one.p).removeprefix("p = ").removeprefix("p "),
    )


def render_terminal(page: Page) -> RenderableType:
    """Return a page for a Rich console; readable from 80 characters on."""
    parts: list[RenderableType] = []
    for sheet in page.sheets:
        table = Table(title=sheet.title)
        for i, name in enumerate(sheet.head):
            table.add_column(name, justify="right" if i else "left")
        for row in sheet.rows:
            table.add_row(*row)
        parts.append(table)
    parts += [Prose(page.conclusion, "bold", indent=1), ""]
    parts += [Prose(note, "dim", indent=1) for note in page.notes]
    return Group(*parts)


def plain_text(page: Page) -> str:
    """Return the terminal's page for a file: without colours, with lines of any width."""
    return terminal.plain_text(render_terminal(page))


def render_markdown(page: Page) -> str:
    """Return a page as GitHub's Markdown."""
    lines = []
    for sheet in page.sheets:
        lines += [f"**{sheet.title}**", "", _line(sheet.head)]
        lines += [_line(["---"] + ["---:"] * (len(sheet.head) - 1))]
        lines += [*map(_line, sheet.rows), ""]
    return "\n".join([*lines, page.conclusion, "", *(f"- {note}" for note in page.notes)]) + "\n"


def _line(cells: Sequence[str]) -> str:
    texts = (cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells)
    return "| " + " | ".join(texts) + " |"
