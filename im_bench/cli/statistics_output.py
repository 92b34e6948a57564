"""Where statistics go, and how they look there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from im_bench.errors import ImBenchError, unknown_name

if TYPE_CHECKING:
    from im_bench.report.statistics.text import Page

FORMATS = ("terminal", "markdown", "json")

StatisticsFormatOption = Annotated[
    str, typer.Option("--format", help="terminal, markdown or json.")
]
ToOption = Annotated[
    Path | None, typer.Option("--to", metavar="FILE", help="Write to a file instead.")
]


def check_format(form: str) -> None:
    """Make sure that a format is known, before anything is computed.

    Raises:
        ImBenchError: If it is not.
    """
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)


def show(page: Page, values: dict[str, Any], form: str, to: Path | None) -> None:
    """Print statistics, or write them to a file.

    Args:
        page: As text.
        values: As JSON values.
        form: One of :data:`FORMATS`.
        to: A file, or None for the terminal.

    Raises:
        ImBenchError: If the file cannot be written.
    """
    from im_bench.files import write_text
    from im_bench.report.statistics import json_form as statistics_json
    from im_bench.report.statistics import text as statistics_text
    from im_bench.terminal import Console

    if form == "terminal" and to is None:
        Console().print(statistics_text.render_terminal(page))
        return
    if form == "json":
        text = statistics_json.render_json(values, page)
    elif form == "markdown":
        text = statistics_text.render_markdown(page)
    else:
        text = statistics_text.plain_text(page)
    if to is None:
        typer.echo(text, nl=False)
        return
    try:
        write_text(to, text)
    except OSError as error:
        raise ImBenchError(
            f"cannot write the statistics to {to} ({error.strerror}): choose another file with --to"
        ) from error
