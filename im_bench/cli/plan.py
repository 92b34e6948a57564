"""``im-bench plan``: what a suite takes, what of it exists, and what is shared."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from im_bench.cli.listing import print_lines, print_rows
from im_bench.cli.options import (
    DATA_ROOT,
    OUT,
    BudgetOption,
    DataOption,
    DataRootOption,
    MethodsOption,
    OutOption,
    SeedsOption,
    SlotsPerGpuOption,
    SuiteOption,
    load_plan,
)
from im_bench.errors import ImBenchError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from im_bench.planning.plan import Plan
    from im_bench.terminal import Table


def plan(
    suite: SuiteOption,
    out: OutOption = OUT,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    methods: MethodsOption = None,
    data: DataOption = None,
    seeds: SeedsOption = None,
    stages: Annotated[bool, typer.Option("--stages", help="List every stage.")] = False,
    cost: Annotated[
        bool,
        typer.Option("--cost", help="What the rest takes, by what was measured so far."),
    ] = False,
    slots: Annotated[
        int | None,
        typer.Option("--slots", min=1, help="With --cost: how long it takes, so many at a time."),
    ] = None,
    slots_per_gpu: SlotsPerGpuOption = None,
) -> None:
    """Show what would run, what exists and what is shared. Runs nothing.

    Examples: im-bench plan --suite from-scratch --methods im,me

    im-bench plan --suite from-scratch --cost --slots 8 --slots-per-gpu 4
    """
    from im_bench.planning.preflight import size_problems
    from im_bench.runner.store import Status, Store
    from im_bench.suites.networks import needs_of_networks
    from im_bench.terminal import Console

    if not cost and (slots or slots_per_gpu):
        raise ImBenchError("--slots and --slots-per-gpu say something with --cost only: add it")
    if cost and stages:
        raise ImBenchError("--cost and --stages are two views: give one of them")
    console = Console()
    made = load_plan(suite, out, data_root, budget, methods, data, seeds)
    store = Store(out)
    if cost:
        from im_bench.cli.cost import show_cost

        whole = load_plan(suite, out, data_root, budget)  # The rest of the suite tells as well.
        alike = {stage.key: stage for stage in (*whole.graph, *made.graph)}
        show_cost(made, alike.values(), store, slots, slots_per_gpu or 1, console)
    elif stages:
        known = store.statuses(made.graph)
        print_lines(f"{known[s.key].value:8} {s.kind:13} {s.folder}" for s in made.graph)
    else:
        known = store.statuses(made.graph)
        done = {key for key, status in known.items() if status is Status.DONE}
        names = ("cell", "seeds", "stages", "shared", "trainings", "done")
        title = f"{made.name}: {len(made.cells)} cells"
        print_rows(console, title, names, list(cell_rows(made, done)))
        console.print(kinds_table(made, done))

    def say(text: str) -> None:
        console.print(text)

    problems = [cell.problem for cell in made.cells if cell.problem]
    for problem in dict.fromkeys((*problems, *size_problems(made).values())):
        say(f"left out: {problem}")
    for warning in (one for warnings in made.warnings.values() for one in warnings):
        say(f"warning: {warning}")
    for download in needs_of_networks(made.graph).downloads:
        say(f"warning: {download}")


def cell_rows(plan: Plan, done: Collection[str]) -> Iterator[list[str]]:
    """Give a row per cell: its trainings, how many of them others use too, what is done."""
    of_cell = {cell.name: plan.stages_of(cell) for cell in plan.cells}
    users = Counter(stage.key for stages in of_cell.values() for stage in stages)
    for cell in plan.cells:
        stages = of_cell[cell.name]
        yield [
            cell.name + (" (left out)" if cell.problem else ""),
            str(len(cell.finals)),
            str(len(stages)),
            str(sum(users[stage.key] > 1 for stage in stages)),
            str(sum(stage.kind == "train" for stage in stages)),
            f"{sum(stage.key in done for stage in stages)}/{len(stages)}",
        ]


def kinds_table(plan: Plan, done: Collection[str]) -> Table:
    """Return a line per kind of stage: how many there are, and would be if none were shared."""
    from im_bench.terminal import Table

    table = Table(title="stages by kind")
    for name in ("kind", "needed", "without sharing", "done", "to do"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    uses = plan.uses()
    needed, alone, made = Counter[str](), Counter[str](), Counter[str]()
    for stage in plan.graph:
        needed[stage.kind] += 1
        alone[stage.kind] += uses[stage.key]
        made[stage.kind] += stage.key in done
    for kind, count in needed.items():
        numbers = (count, alone[kind], made[kind], count - made[kind])
        table.add_row(kind, *map(str, numbers))
    table.add_section()
    totals = [sum(counter.values()) for counter in (needed, alone, made)]
    table.add_row("all", *map(str, (*totals, totals[0] - totals[2])), style="bold")
    return table
