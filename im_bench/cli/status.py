"""``im-bench status``: where each cell of a suite stands."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from rich.text import Text

    from im_bench.runner.store import Status
    from im_bench.suites.graph import Stage
    from im_bench.suites.plan import Cell, Plan

_STYLES = {"done": "green", "running": "cyan", "failed": "red", "planned": "dim"}


def status(
    suite: SuiteOption,
    out: OutOption = OUT,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    methods: MethodsOption = None,
    data: DataOption = None,
    seeds: SeedsOption = None,
) -> None:
    """Show for each cell and seed what is done, running, failed and planned.

    Example: im-bench status --suite quickstart
    """
    from rich.console import Console
    from rich.table import Table

    from im_bench.runner.store import Status, Store

    console = Console()
    plan = load_plan(suite, out, data_root, budget, methods, data, seeds)
    store = Store(out)
    known = {stage.key: store.status(stage) for stage in plan.graph}
    every_seed = sorted({seed for cell in plan.cells for seed in cell.finals})
    table = Table("cell", *(f"s{seed}" for seed in every_seed), title=plan.name)
    for cell in plan.cells:
        table.add_row(cell.name, *(_entry(plan, cell, seed, known) for seed in every_seed))
    console.print(table)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    counts = Counter(status.value for status in known.values())
    say(
        ", ".join(f"{counts[one.value]} {one.value}" for one in Status) + f" of {len(known)} stages"
    )
    for stage in plan.graph:
        if known[stage.key] is Status.FAILED:
            say(f"failed: {stage.slug}: {store.errors(stage)[-1]['message']}")
        elif known[stage.key] is Status.RUNNING:
            say(f"running: {stage.slug}{_progress(store.progress(stage))}")
        if damage := store.folder(stage).damage:
            say(f"warning: {damage}")
    for problem in dict.fromkeys(cell.problem for cell in plan.cells if cell.problem):
        say(f"no data: {problem}")


def _entry(plan: Plan, cell: Cell, seed: int, known: dict[str, Status]) -> Text:
    """Return the state of one seed of a cell, with stages done of all if it is under way."""
    from rich.text import Text

    stages = plan.closure([cell.finals[seed]])
    state = state_of(cell, seed, stages, known)
    done = sum(known[stage.key].value == "done" for stage in stages)
    count = f" {done}/{len(stages)}" if state in ("running", "failed", "planned") and done else ""
    return Text(state + count, style=_STYLES.get(state, "yellow"))


def state_of(cell: Cell, seed: int, stages: list[Stage], known: dict[str, Status]) -> str:
    """Return ``done``, ``no data``, ``failed``, ``running`` or ``planned``."""
    if known[cell.finals[seed]].value == "done":
        return "done"
    if cell.problem:
        return "no data"
    found = {known[stage.key].value for stage in stages}
    return next((state for state in ("failed", "running") if state in found), "planned")


def _progress(progress: dict[str, object] | None) -> str:
    said = progress or {}
    return f" (step {said['step']} of {said['total']})" if {"step", "total"} <= said.keys() else ""
