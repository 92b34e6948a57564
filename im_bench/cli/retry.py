"""``im-bench retry``: runs again what failed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from im_bench.cli.options import (
    DATA_ROOT,
    OUT,
    AddressOption,
    AttemptsOption,
    BudgetOption,
    DataRootOption,
    EngineOption,
    GpusOption,
    OutOption,
    PartitionOption,
    RunDeviceOption,
    SeedsOption,
    SlotsOption,
    SlotsPerGpuOption,
    SuiteOption,
    TableOption,
    TimeLimitOption,
    TrackingOption,
    load_engine,
    load_plan,
)
from im_bench.cli.run import command_line, print_commands, run_cells, show_table, tell
from im_bench.cli.show import find_cell

if TYPE_CHECKING:
    from im_bench.planning.plan import Cell, Plan
    from im_bench.runner.store import Store


def retry(
    suite: SuiteOption,
    cells: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CELL", help="DATA/SPLIT/METHOD, or with a seed: .../s1. Default: all."
        ),
    ] = None,
    out: OutOption = OUT,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    seeds: SeedsOption = None,
    engine: EngineOption = "local",
    slots: SlotsOption = None,
    gpus: GpusOption = None,
    slots_per_gpu: SlotsPerGpuOption = None,
    address: AddressOption = None,
    partition: PartitionOption = None,
    device: RunDeviceOption = None,
    attempts: AttemptsOption = 2,
    time_limit: TimeLimitOption = None,
    tracking: TrackingOption = True,
    table: TableOption = True,
) -> None:
    """Run again what failed of a suite or of some cells, and what was waiting for it.

    Other cells are left alone. Exit status: 0 done or nothing had failed, 1 something failed again,
    2 wrong input, 130 interrupted.

    Examples: im-bench retry --suite quickstart

    im-bench retry lesions/0.1/im lesions/0.1/me/s2 --suite from-scratch --slots 1
    """
    from im_bench.runner.scheduler import Policy
    from im_bench.runner.store import Store
    from im_bench.terminal import Console

    console = Console()
    options = load_engine(engine, slots, gpus, slots_per_gpu, address, partition, device)
    plan = load_plan(suite, out, data_root, budget, seeds=seeds, time_limit=time_limit)
    store = Store(out)
    chosen = (find_cell(plan, name) for name in cells) if cells else _every(plan)
    failed = failed_part(plan, chosen, store)
    if not failed.cells:
        where = "of these cells " if cells else ""
        console.print(f"nothing {where}has failed")
        return
    if not options.runs:
        print_commands(failed, store)
        return
    summary = run_cells(failed, store, options, Policy.RETRY_FAILED, attempts, tracking, console)
    again = command_line(*sys.argv[1:])
    tell(summary, console, _go_on(failed, cells or []), again)
    if table:
        show_table(failed, store, console)
    raise typer.Exit(summary.exit_code)


def failed_part(plan: Plan, chosen: Iterable[tuple[Cell, list[int]]], store: Store) -> Plan:
    """Return the part of a plan that needs a failed stage.

    Args:
        plan: All of it.
        chosen: The cells and seeds among which to look.
        store: Where they lie.
    """
    from dataclasses import replace

    from im_bench.runner.store import Status

    failed = {
        stage.key for stage in store.existing(plan.graph) if store.status(stage) is Status.FAILED
    }
    seeds: dict[str, dict[int, str]] = {}
    for cell, wanted in chosen:
        for seed in wanted:
            final = cell.finals[seed]
            if any(stage.key in failed for stage in plan.closure([final])):
                seeds.setdefault(cell.name, {})[seed] = final
    cells = [replace(cell, finals=seeds[cell.name]) for cell in plan.cells if cell.name in seeds]
    return replace(plan, cells=cells)


def _every(plan: Plan) -> Iterable[tuple[Cell, list[int]]]:
    return ((cell, list(cell.finals)) for cell in plan.cells)


def _go_on(plan: Plan, cells: list[str]) -> str:
    """Return the command that goes on after a stop.

    Another retry would look for failures, and find none where only what waited for them is left.
    """
    words = [word for word in sys.argv[1:] if word not in cells]
    words[words.index("retry")] = "run"
    seeds = sorted({seed for cell in plan.cells for seed in cell.finals})
    for option, values in (
        ("--methods", (cell.method for cell in plan.cells)),
        ("--data", (cell.data for cell in plan.cells)),
        ("--seeds", map(str, seeds)),
    ):
        words += [option, ",".join(dict.fromkeys(values))]
    return command_line(*words, "--policy", "retry-failed")
