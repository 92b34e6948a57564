"""``im-bench logs``: what a cell's stages have written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from im_bench.cli.options import (
    DATA_ROOT,
    OUT,
    BudgetOption,
    DataRootOption,
    OutOption,
    SeedsOption,
    SuiteOption,
    load_plan,
)
from im_bench.cli.show import find_cell
from im_bench.errors import unknown_name

if TYPE_CHECKING:
    from im_bench.suites.graph import Stage


def logs(
    cell: Annotated[
        str, typer.Argument(metavar="CELL", help="DATA/SPLIT/METHOD, or with a seed: .../s1.")
    ],
    suite: SuiteOption,
    out: OutOption = OUT,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    seeds: SeedsOption = None,
    stage: Annotated[
        str | None,
        typer.Option("--stage", metavar="PART", help="The stage whose name has this part."),
    ] = None,
    lines: Annotated[int, typer.Option("--lines", min=0, help="So many of the last lines.")] = 40,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until the stage is over, as tail -f does.")
    ] = False,
) -> None:
    """Show the log of a cell's stage: of the one that runs, or failed last, or else is newest.

    The log goes to standard output, remarks go to standard error. Exit status: 1 if the stage that
    is followed failed.

    Examples: im-bench logs lesions/0.1/im --suite quickstart

    im-bench logs lesions/0.1/im/s1 --suite quickstart --stage g1-student2 --follow
    """
    from im_bench.runner import logs as of_stages
    from im_bench.runner.store import Status, Store

    plan = load_plan(suite, out, data_root, budget, seeds=seeds)
    found, chosen = find_cell(plan, cell)
    store = Store(out)
    stages = plan.closure([found.finals[seed] for seed in chosen])
    there = of_stages.stages_with_log(_named(stages, stage), store)
    if not there:
        _remark(f"nothing of {cell} {'by that name ' if stage else ''}has run yet")
        return
    shown = there[0]
    _remark(f"{shown.slug} ({store.status(shown).value}): {store.folder(shown).log}")
    text, end = of_stages.last_lines(store.folder(shown).log, lines)
    _write(text)
    if follow:
        for text in of_stages.follow(shown, store, end):
            _write(text)
    status = store.status(shown)
    if status is Status.FAILED:
        _remark(f"failed: {store.errors(shown)[-1]['message']}")
    elif follow:
        _remark(f"{status.value}: {shown.slug}")
    others = [one for one in of_stages.stages_with_log(stages, store) if one.key != shown.key]
    if others:
        example = others[0].coordinates.name
        _remark(f"{len(others)} other stages have a log: add --stage PART, such as {example}")
    if follow and status is Status.FAILED:
        raise typer.Exit(1)


def _named(stages: list[Stage], part: str | None) -> list[Stage]:
    """Return the stages whose folder's name has this part, or whose name ends in it."""
    if part is None:
        return stages
    exact = [stage for stage in stages if f"/{stage.slug}".endswith(f"/{part}")]
    found = exact or [stage for stage in stages if part in stage.folder]
    if not found:
        raise unknown_name("stage", part, {stage.coordinates.long_name for stage in stages})
    return found


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _remark(text: str) -> None:
    sys.stderr.write(f"{text}\n")
