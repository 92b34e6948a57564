"""``im-bench report``: the results of suites as one page for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from im_bench.cli.options import (
    DATA_ROOT,
    OUT,
    BudgetOption,
    DataOption,
    DataRootOption,
    MethodsOption,
    OutOption,
    SeedsOption,
    load_plan,
)


def report(
    suite: Annotated[
        list[str],
        typer.Option("--suite", help="Name or YAML file of a suite; may be given several times."),
    ],
    out: OutOption = OUT,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    methods: MethodsOption = None,
    data: DataOption = None,
    seeds: SeedsOption = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Folder of the page. Default: OUT/report."),
    ] = None,
) -> None:
    """Write the results of suites as one page, index.html, which needs nothing else to be read.

    Nothing is run; what is missing is marked.

    Example: im-bench report --suite quickstart --to public
    """
    from im_bench.report.page.page import make_page
    from im_bench.report.page.shell import write_page
    from im_bench.runner.store import Store

    plans = [load_plan(one, out, data_root, budget, methods, data, seeds) for one in suite]
    page = make_page(plans, Store(out))
    path = write_page(to or out / "report", page)
    typer.echo(f"{path} ({len(page.encode()) / 1e6:.1f} MB)")
