"""``im-bench compare``: two methods by pairs of seeds, and what can be concluded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from im_bench.cli.options import (
    DATA_ROOT,
    OUT,
    BudgetOption,
    DataOption,
    DataRootOption,
    OutOption,
    SeedsOption,
    SuiteOption,
    load_plan,
)
from im_bench.cli.statistics_output import StatisticsFormatOption, ToOption, check_format, show
from im_bench.errors import ImBenchError

if TYPE_CHECKING:
    from im_bench.planning.plan import Plan
    from im_bench.report.statistics.comparison import Side
    from im_bench.runner.store import Store


def compare(
    methods: Annotated[
        list[str], typer.Argument(metavar="A [B]", help="Two methods; with --against only one.")
    ],
    suite: SuiteOption,
    out: OutOption = OUT,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against", metavar="OTHER_OUT", help="The same method in another results folder."
        ),
    ] = None,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    data: DataOption = None,
    seeds: SeedsOption = None,
    form: StatisticsFormatOption = "terminal",
    to: ToOption = None,
) -> None:
    """Compare two methods by pairs of seeds: differences, and what can be concluded.

    Nothing is run. Only seeds that both have are compared, and what is missing is said.

    Example: im-bench compare unimatch+im unimatch --suite study-a-small
    """
    from im_bench.report.statistics import comparison
    from im_bench.report.statistics import json_form as statistics_json
    from im_bench.report.statistics import text as statistics_text
    from im_bench.report.tables.notes import protocol_notes
    from im_bench.runner.store import Store

    check_format(form)
    if len(methods) != (2 if against is None else 1) or len(set(methods)) < len(methods):
        raise ImBenchError(
            f"compare {' '.join(methods)}: name two different methods, or one with --against "
            "OTHER_OUT"
        )
    plan = load_plan(suite, out, data_root, budget, ",".join(methods), data, seeds)
    store = Store(out)
    first, second, notes = (
        _two_methods(plan, store, methods)
        if against is None
        else _two_folders(plan, store, methods[0], Store(against))
    )
    found = comparison.compare(first, second)
    page = statistics_text.comparison_page(found, (*notes, *protocol_notes(plan, store)))
    show(page, statistics_json.comparison_values(found), form, to)


def _two_methods(
    plan: Plan, store: Store, methods: list[str]
) -> tuple[Side, Side, tuple[str, ...]]:
    from im_bench.report.statistics.comparison import Side
    from im_bench.report.statistics.protocols import training_notes
    from im_bench.report.tables.build import CellResults

    results = CellResults(plan, store)
    first, second = methods
    return (
        Side(first, first, results),
        Side(second, second, results),
        training_notes(plan, (first, second)),
    )


def _two_folders(
    plan: Plan, store: Store, method: str, other: Store
) -> tuple[Side, Side, tuple[str, ...]]:
    from im_bench.report.statistics.comparison import Side
    from im_bench.report.statistics.protocols import refuse_other_protocols
    from im_bench.report.tables.build import CellResults
    from im_bench.report.tables.notes import origin_note

    if not other.stages.is_dir():
        raise ImBenchError(f"{other.out} is no results folder: name one that im-bench run has made")
    if other.out.resolve() == store.out.resolve():
        raise ImBenchError(f"--against {other.out} is the folder of --out: name another")
    refuse_other_protocols(plan, other)
    sides = [
        Side(f"{method} in {one.out}", method, CellResults(plan, one)) for one in (store, other)
    ]
    note = f"{other.out}: {origin_note(plan, other) or 'nothing made yet'}"
    return sides[0], sides[1], (note,)
