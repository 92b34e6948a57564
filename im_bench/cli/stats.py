"""``im-bench stats``: all methods of a suite over all of its data sets, with intervals."""

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
    SuiteOption,
    load_plan,
)
from im_bench.cli.statistics_output import StatisticsFormatOption, ToOption, check_format, show


def stats(
    suite: SuiteOption,
    out: OutOption = OUT,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    methods: MethodsOption = None,
    data: DataOption = None,
    seeds: SeedsOption = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="METHOD",
            help="Show gains over this method, and test all others against it.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Also draw a figure: .svg, .png or .pdf."),
    ] = None,
    form: StatisticsFormatOption = "terminal",
    to: ToOption = None,
) -> None:
    """Show statistics of all methods: interquartile means, ranks, profiles, improvements.

    Nothing is run. Scores are made comparable between data sets; each METHOD+im is tested against
    its METHOD, with Holm's correction.

    Example: im-bench stats --suite study-a-small --plot profiles.svg
    """
    from im_bench.report.statistics import json_form as statistics_json
    from im_bench.report.statistics import plot as statistics_plot
    from im_bench.report.statistics import text as statistics_text
    from im_bench.report.statistics.summary import summarise
    from im_bench.report.tables.build import CellResults
    from im_bench.report.tables.notes import protocol_notes
    from im_bench.runner.store import Store

    check_format(form)
    if plot is not None:
        statistics_plot.check_plot_path(plot)
    plan, store = load_plan(suite, out, data_root, budget, methods, data, seeds), Store(out)
    found = summarise(plan, CellResults(plan, store), baseline, bands=plot is not None)
    page = statistics_text.summary_page(found, protocol_notes(plan, store))
    if plot is not None:
        statistics_plot.write_plot(found, plot)
    show(page, statistics_json.summary_values(found), form, to)
