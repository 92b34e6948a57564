"""Tables as HTML: one fragment that says without a style sheet what it means.

Classes say what a thing is (``entry``, ``mean``, ``gain``, ``hole``, ``reported``, ``rank-1``), and
data attributes hold the numbers behind the texts, in the units of the metrics, for sorting.
"""

from __future__ import annotations

from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from im_bench.report.tables import texts
from im_bench.report.tables.entries import Entry, GenerationsTable, ResultsTable

if TYPE_CHECKING:
    from jinja2 import Environment


def render_html(table: ResultsTable | GenerationsTable) -> str:
    """Return a table with its notes, as a fragment to put into a page."""
    name = "generations" if isinstance(table, GenerationsTable) else "results"
    return _environment().get_template(f"{name}.html.j2").render(table=table)


def render_html_page(table: ResultsTable | GenerationsTable) -> str:
    """Return a whole page that holds a table and needs nothing else."""
    template = _environment().get_template("page.html.j2")
    return template.render(title=table.name, body=render_html(table))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("im_bench.report.tables"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals["texts"] = texts
    environment.globals["classes"] = _classes
    environment.globals["numbers"] = _numbers
    environment.globals["by_column"] = _by_column
    return environment


def _classes(entry: Entry) -> str:
    """Return the classes of an entry: its state, and its rank if it has a mark."""
    state = f"state-{entry.state.value.replace(' ', '-')}"
    return f"entry {state}" + (f" rank-{entry.rank}" if entry.rank else "")


def _numbers(entry: Entry) -> dict[str, Any]:
    """Return the data attributes of an entry; what is not known is left out."""
    values = {
        "value": entry.mean,
        "std": entry.std,
        "n": entry.n,
        "seeds": len(entry.seeds),
        "rank": entry.rank,
        "gain": entry.gain,
        "reported": entry.reported,
        "difference": entry.difference,
    }
    return {f"data-{name}": value for name, value in values.items() if value is not None}


def _by_column(table: GenerationsTable) -> list[tuple[Any, list[Any]]]:
    return [(column, list(rows)) for column, rows in groupby(table.rows, lambda row: row.column)]
