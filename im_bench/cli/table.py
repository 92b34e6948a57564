"""``im-bench table``: the results of a suite, as far as they are there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from im_bench.cli.listing import other_keys
from im_bench.cli.options import (
    DATA_ROOT,
    OUT,
    BudgetOption,
    DataOption,
    DataRootOption,
    MethodsOption,
    OutOption,
    SeedsOption,
    SuiteOption,
    load_plan,
)
from im_bench.errors import ImBenchError, unknown_name

FORMATS = ("terminal", "markdown", "latex", "html", "csv")


def table(
    suite: SuiteOption,
    out: OutOption = OUT,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    methods: MethodsOption = None,
    data: DataOption = None,
    seeds: SeedsOption = None,
    form: Annotated[
        str, typer.Option("--format", help="terminal, markdown, latex, html or csv.")
    ] = "terminal",
    generations: Annotated[
        bool, typer.Option("--generations", help="From generation to generation.")
    ] = False,
    standalone: Annotated[
        bool, typer.Option("--standalone", help="With latex or html: a whole document.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write to a file instead.")
    ] = None,
) -> None:
    """Show the results of a suite. Nothing is run; what is missing is marked.

    With --generations, csv has a row for each cell, seed and generation. latex needs the package
    booktabs.

    Example: im-bench table --suite quickstart --format latex --to table.tex
    """
    from im_bench.report.tables import build as tables
    from im_bench.report.tables import rendering
    from im_bench.runner.store import Store
    from im_bench.terminal import Console

    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    if standalone and form not in ("latex", "html"):
        raise ImBenchError(f"--standalone makes a document of latex or html, not of {form}")
    plan, store = load_plan(suite, out, data_root, budget, methods, data, seeds), Store(out)
    make = tables.generations_table if generations else tables.results_table
    if form == "terminal" and to is None:
        Console().print(rendering.render_terminal(make(plan, store)))
        if others := other_keys(store, plan):
            Console(stderr=True).print(f"note: {others}")
        return
    if form == "csv":
        rows = (
            tables.long_rows(plan, store)
            if generations
            else rendering.flat_rows(tables.results_table(plan, store))
        )
        text = rendering.render_csv(rows)
    elif form == "markdown":
        text = rendering.render_markdown(make(plan, store))
    elif form == "latex":
        from im_bench.report.tables.latex import render_latex

        text = render_latex(make(plan, store), standalone)
    elif form == "html":
        from im_bench.report.tables.html import render_html, render_html_page

        text = (render_html_page if standalone else render_html)(make(plan, store))
    else:
        text = rendering.plain_text(make(plan, store))
    if to is None:
        typer.echo(text, nl=False)
    else:
        _write(to, text)


def _write(path: Path, text: str) -> None:
    from im_bench.files import write_text

    try:
        write_text(path, text)
    except OSError as error:
        raise ImBenchError(
            f"cannot write the table to {path} ({error.strerror}): choose another file with --to"
        ) from error
