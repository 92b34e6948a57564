"""``im-bench status``: where each cell of a suite stands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from im_bench.cli.listing import draw, other_keys, print_rows
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
from im_bench.errors import ImBenchError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from rich.console import Console, RenderableType
    from rich.text import Text

    from im_bench.planning.plan import Cell, Plan
    from im_bench.runner.store import Status, Store
    from im_bench.runner.watch import Watch
    from im_bench.suites.graph import Stage

_STYLES = {
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "pruned": "magenta",
    "planned": "dim",
    "no": "yellow",
}
#: Lines that `watch` needs on a terminal beside cells and running stages.
_FRAME = 7


def status(
    suite: SuiteOption,
    out: OutOption = OUT,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    methods: MethodsOption = None,
    data: DataOption = None,
    seeds: SeedsOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again and again, until all is done.")
    ] = False,
    every: Annotated[
        float | None,
        typer.Option("--every", min=0.1, metavar="SECONDS", help="Between two looks. Default: 5."),
    ] = None,
) -> None:
    """Show for each cell and seed what is done, running, failed and planned.

    With --watch, a terminal is redrawn; without one, each change is a line. Ctrl-C ends it.

    Examples: im-bench status --suite quickstart

    im-bench status --suite quickstart --watch --every 2
    """
    from im_bench.runner.store import Store
    from im_bench.runner.watch import Watch
    from im_bench.terminal import Console

    if every is not None and not watch:
        raise ImBenchError("--every says something with --watch only: add it")
    console = Console()
    plan = load_plan(suite, out, data_root, budget, methods, data, seeds)
    store = Store(out)
    seen = Watch(plan, store)
    if watch:
        follow = _redraw if console.is_terminal and not console.is_dumb_terminal else _tell_changes
        follow(plan, store, seen, every or 5.0, console)
        return
    names, rows = cell_rows(plan, seen.known, plan.cells)
    print_rows(console, plan.name, names, rows, _STYLES)

    def say(text: str) -> None:
        console.print(text)

    say(seen.counts())
    for line in _remarks(plan, store, seen.known):
        say(line)


def _remarks(plan: Plan, store: Store, known: dict[str, Status]) -> Iterator[str]:
    """Give a line for each stage that failed, runs, or has a result that does not count."""
    for stage in plan.graph:
        state = known[stage.key].value
        if state == "failed":
            yield f"failed: {stage.slug}{_why(store, stage)}"
        elif state == "running":
            yield f"running: {stage.slug}{_progress(store, stage)}"
    for stage in store.existing(stage for stage in plan.graph if known[stage.key].value != "done"):
        if damage := store.folder(stage).damage:
            yield f"warning: {damage}"
    for stage in plan.graph:
        if not stage.inputs and known[stage.key].value == "done":
            result = store.result(stage) or {"outcome": {}}
            for warning in result["outcome"].get("warnings", ()):
                yield f"warning: {warning}"
    for problem in dict.fromkeys(cell.problem for cell in plan.cells if cell.problem):
        yield f"left out: {problem}"
    if others := other_keys(store, plan):
        yield f"note: {others}"


def _tell_changes(plan: Plan, store: Store, seen: Watch, every: float, console: Console) -> None:
    """Print a line per change until all is done."""

    def say(text: str) -> None:
        clock = time.strftime("%H:%M:%S")
        console.print(f"{clock} {text}")

    say(seen.counts())
    for line in _remarks(plan, store, seen.known):
        say(line)
    while not seen.finished:
        time.sleep(every)
        for stage in seen.look():
            state = seen.known[stage.key].value
            why = _why(store, stage) if state == "failed" else ""
            say(f"{state} {stage.slug}{why}")
    say(f"all done: {seen.counts()}")


def _redraw(plan: Plan, store: Store, seen: Watch, every: float, console: Console) -> None:
    """Show the state in one place until all is done."""
    from rich.live import Live

    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            live.update(_picture(plan, store, seen, console), refresh=True)
            if seen.finished:
                return
            time.sleep(every)
            seen.look()


def _picture(plan: Plan, store: Store, seen: Watch, console: Console) -> RenderableType:
    """Return what fits on the terminal: what runs or has failed goes before what is over."""
    from rich.console import Group

    running = [f"running {stage.slug}{_progress(store, stage)}" for stage in seen.running]
    room = max(3, console.height - _FRAME)
    if len(running) > room // 2:
        running = [*running[: room // 2 - 1], f"and {len(running) - room // 2 + 1} more run"]
    cells = plan.cells
    if len(cells) > room - len(running):
        order = {"failed": 0, "running": 0, "planned": 1}
        stands = {
            cell.name: min(
                order.get(state_of(cell, seed, plan.closure([key]), seen.known), 2)
                for seed, key in cell.finals.items()
            )
            for cell in cells
        }
        urgent = set(sorted(stands, key=stands.__getitem__)[: room - len(running)])
        cells = [cell for cell in plan.cells if cell.name in urgent]
    names, rows = cell_rows(plan, seen.known, cells)
    table = draw(plan.name, names, rows, _STYLES)
    if more := len(plan.cells) - len(cells):
        table.caption = f"and {more} more cells"
    shown: RenderableType = table
    if table.least(console) > console.width:  # A line per cell, where each may be broken.
        lines = (
            f"{row[0]}: {', '.join(map(' '.join, zip(names[1:], row[1:], strict=True)))}"
            for row in rows
        )
        shown = Group(*map(_folded, lines))
    clock = f"{time.strftime('%H:%M:%S')}  {seen.counts()}"
    return Group(shown, *map(_folded, (*running, clock)))


def _folded(line: str) -> Text:
    """Return a line that is broken anywhere: what a `Live` redraws is cut at the width."""
    from rich.text import Text

    return Text(line, no_wrap=False, overflow="fold")


def cell_rows(
    plan: Plan, known: dict[str, Status], cells: Collection[Cell]
) -> tuple[list[str], list[list[str]]]:
    """Return the names of columns, and a row per cell with the state of each of its seeds."""
    seeds = sorted({seed for cell in plan.cells for seed in cell.finals})
    rows = [[cell.name, *(_entry(plan, cell, seed, known) for seed in seeds)] for cell in cells]
    return ["cell", *(f"s{seed}" for seed in seeds)], rows


def _entry(plan: Plan, cell: Cell, seed: int, known: dict[str, Status]) -> str:
    """Return the state of one seed of a cell, with stages done of all if it is under way."""
    stages = plan.closure([cell.finals[seed]])
    state = state_of(cell, seed, stages, known)
    done = sum(known[stage.key].value == "done" for stage in stages)
    count = (
        f" {done}/{len(stages)}"
        if state in ("running", "failed", "pruned", "planned") and done
        else ""
    )
    return state + count


def state_of(cell: Cell, seed: int, stages: list[Stage], known: dict[str, Status]) -> str:
    """Return ``done``, ``no data``, ``failed``, ``running``, ``pruned`` or ``planned``."""
    if known[cell.finals[seed]].value == "done":
        return "done"
    if cell.problem:
        return "no data"
    found = {known[stage.key].value for stage in stages}
    return next((state for state in ("failed", "running", "pruned") if state in found), "planned")


def _why(store: Store, stage: Stage) -> str:
    errors = store.errors(stage)  # None, if somebody has just begun to make it anew.
    return f": {errors[-1]['message']}" if errors else ""


def _progress(store: Store, stage: Stage) -> str:
    said = store.progress(stage) or {}
    return f" (step {said['step']} of {said['total']})" if {"step", "total"} <= said.keys() else ""
