"""A study as one page that needs nothing else."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import cache

from jinja2 import Environment

from im_bench.report.page.shell import make_environment, shell
from im_bench.report.tuning import charts
from im_bench.report.tuning.findings import Findings
from im_bench.report.tuning.texts import (
    description,
    field_text,
    nothing_text,
    own_text,
    reason_text,
    seconds_text,
    value_text,
)

#: Trials that the table of all has; of more, the best are listed.
MOST_LISTED = 500


def make_page(found: Findings, now: datetime | None = None) -> str:
    """Return the page of a study.

    Args:
        found: What is told.
        now: When the page is made.
    """
    drawn = {
        "history": charts.history(found),
        "curves": charts.curves(found),
        "slices": charts.slices(found),
        "importances": charts.importances(found),
        "front": charts.front_chart(found),
    }
    listed = [one for one in found.records if one.params]
    if len(listed) > MOST_LISTED:
        best = {one.number for one in found.ranked[:MOST_LISTED]}
        listed = [one for one in listed if one.number in best]
    drawings = [one for part in drawn.values() if part for one in part.drawings]
    made = now or datetime.now(timezone.utc)
    return (
        _environment()
        .get_template("study.html")
        .render(
            found=found,
            facts=description(found),
            nothing=nothing_text(found),
            own=own_text(found),
            listed=listed,
            sections=_sections(found, drawn),
            **drawn,
            **shell(found.name, drawings, made),
        )
    )


@cache
def _environment() -> Environment:
    return make_environment(
        "im_bench.report.tuning",
        value=value_text,
        field=field_text,
        seconds=seconds_text,
        reason=reason_text,
    )


def _sections(found: Findings, drawn: dict[str, charts.Charts | None]) -> list[tuple[str, str]]:
    """Return anchor and name of the sections that the page has."""
    sections = [
        ("found", "What was found", found.best),
        ("front", "Pareto front", drawn["front"]),
        ("history", "History", drawn["history"] or drawn["curves"]),
        ("fields", "Fields", drawn["slices"]),
        ("importances", "Importances", found.complete),
        ("trials", "Trials", any(one.params for one in found.records)),
    ]
    return [(anchor, name) for anchor, name, there in sections if there]
