"""Writes the page: templates, one style sheet, one script, and a policy that forbids all else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from im_bench import __version__
from im_bench.errors import ImBenchError
from im_bench.files import write_text
from im_bench.report.page.content import SuiteReport, suite_report
from im_bench.report.page.cost import duration
from im_bench.report.page.gallery import Item
from im_bench.report.page.svg import shared_markers, style_sheet
from im_bench.report.page.thumbnails import Thumbnails
from im_bench.report.tables.html import render_html
from im_bench.report.tables.texts import heading
from im_bench.runner.store import Store
from im_bench.suites.plan import Plan

FILE = "index.html"
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


def write_page(folder: Path, text: str) -> Path:
    """Write the page into a folder, which need not exist, and return the file.

    Raises:
        ImBenchError: If the folder is a file, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ImBenchError(f"cannot write the page into {folder}, which is a file: name a folder")
    path = folder / FILE
    try:
        write_text(path, text)
    except OSError as error:
        raise ImBenchError(
            f"cannot write the page to {path} ({error.strerror}): name another folder with --to"
        ) from error
    return path


def render(reports: Sequence[SuiteReport], images: Sequence[str], made: datetime) -> str:
    """Return the page.

    Args:
        reports: What is told.
        images: The pictures, as data URIs.
        made: When the page is made.
    """
    drawings = [one for report in reports for one in report.drawings]
    css, js = _source("page.css") + style_sheet(drawings), _source("page.js")
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=", ".join(report.name for report in reports),
            reports=reports,
            images=images,
            pictures={
                "images": images,
                "suites": {
                    report.id: [_item(item) for item in report.gallery.items] for report in reports
                },
            },
            made=made,
            version=__version__,
            css=css,
            markers=shared_markers(drawings),
            js=js,
            policy=_policy(css, js),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("im_bench.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        table=render_html,
        heading=heading,
        duration=duration,
        date=_date,
        sections=_sections,
        first_shown=_first_shown,
    )
    return environment


def _source(name: str) -> str:
    template = resources.files(__package__) / "templates" / name
    return template.read_text(encoding="utf-8")


def _policy(css: str, js: str) -> str:
    """Return a Content-Security-Policy under which nothing is fetched, and only ours is run."""
    return (
        f"default-src 'none'; style-src '{_digest(css)}'; script-src '{_digest(js)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _date(moment: datetime) -> str:
    """Return ``25 November 2026, 19:40 UTC``."""
    moment = moment.astimezone(timezone.utc)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


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
