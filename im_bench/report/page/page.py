"""The page of the results of suites."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from functools import cache
from typing import Any

from jinja2 import Environment

from im_bench.errors import ImBenchError
from im_bench.planning.plan import Plan
from im_bench.report.page.content import SuiteReport, suite_report
from im_bench.report.page.cost import duration
from im_bench.report.page.gallery import Item
from im_bench.report.page.shell import make_environment, shell
from im_bench.report.page.thumbnails import Thumbnails
from im_bench.report.tables.html import render_html
from im_bench.report.tables.texts import heading
from im_bench.runner.store import Store

#: Characters that pictures may have, of all suites together.
PICTURE_BUDGET = 4_000_000


def make_page(plans: Sequence[Plan], store: Store, now: datetime | None = None) -> str:
    """Return the page of some suites.

    Args:
        plans: What was asked for, a suite each.
        store: What is there.
        now: When the page is made.

    Raises:
        ImBenchError: If the results folder is a file, a suite comes twice, or the table of reported
            numbers is wrong.
    """
    if store.out.exists() and not store.out.is_dir():
        raise ImBenchError(f"the results folder {store.out} is a file: name a folder with --out")
    names = [plan.name for plan in plans]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ImBenchError(f"the suite {twice} is asked for twice: name each suite once")
    thumbnails = Thumbnails()
    reports = []
    for plan in plans:
        thumbnails.allow(PICTURE_BUDGET // len(plans))
        reports.append(suite_report(plan, store, thumbnails))
    return render(reports, thumbnails.uris, now or datetime.now(timezone.utc))


def render(reports: Sequence[SuiteReport], images: Sequence[str], made: datetime) -> str:
    """Return the page.

    Args:
        reports: What is told.
        images: The pictures, as data URIs.
        made: When the page is made.
    """
    drawings = [one for report in reports for one in report.drawings]
    title = ", ".join(report.name for report in reports)
    return (
        _environment()
        .get_template("page.html")
        .render(
            reports=reports,
            images=images,
            pictures={
                "images": images,
                "suites": {
                    report.id: [_item(item) for item in report.gallery.items] for report in reports
                },
            },
            **shell(title, drawings, made),
        )
    )


@cache
def _environment() -> Environment:
    return make_environment(
        table=render_html,
        heading=heading,
        duration=duration,
        sections=_sections,
        first_shown=_first_shown,
    )


def _sections(report: SuiteReport) -> list[tuple[str, str]]:
    """Return anchor and name of the sections that a report has."""
    sections = [
        ("results", "Results", True),
        ("gains", "Gains", report.gains),
        ("learning", "Learning curves", report.learning or report.inconsistency),
        ("generations", "Generations", report.generations),
        ("classes", "Classes", report.classes),
        ("gallery", "Gallery", report.gallery.items),
        ("failures", "Failures", report.failures.stages),
        ("cost", "Cost", report.costs),
    ]
    return [(anchor, name) for anchor, name, there in sections if there]


def _first_shown(items: Sequence[Item]) -> Item:
    """Return the item that tells the most: one with masks and a student, if there is any."""

    def told(item: Item) -> tuple[int, bool]:
        return len(item.panels), any(panel.caption == "consensus" for panel in item.panels)

    return max(items, key=told)


def _item(item: Item) -> dict[str, Any]:
    return {
        "data": item.data,
        "method": item.method,
        "shows": item.shows,
        "panels": [(panel.caption, panel.image) for panel in item.panels],
    }
