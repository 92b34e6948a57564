"""What ``im-bench plan --cost`` shows: how much of a plan is left."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from im_bench.runner.cost import (
    Amount,
    Basis,
    Estimator,
    Left,
    devices_of,
    measure,
    nearest_device,
    takes_gpu,
    total,
    unfinished,
    wall_seconds,
    what_is_left,
)
from im_bench.runner.progress import duration
from im_bench.runner.provenance import devices_here, is_processor

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from im_bench.planning.plan import Plan
    from im_bench.runner.store import Store
    from im_bench.suites.graph import Stage
    from im_bench.terminal import Console, Table


def show_cost(
    plan: Plan,
    alike: Iterable[Stage],
    store: Store,
    slots: int | None,
    slots_per_gpu: int,
    console: Console,
) -> None:
    """Print what is left of each cell and of all, and what the estimates rest on.

    Args:
        plan: What is wanted.
        alike: Stages whose measurements count, of the same suite and budget.
        store: Where they lie.
        slots: Stages at a time, to say how long all takes.
        slots_per_gpu: A stage that declares no share of a GPU takes one of so many.
        console: Where to print.
    """

    def say(text: str) -> None:
        console.print(text)

    measured, without = measure(alike, store)
    here = devices_here()
    devices = devices_of(measured, gpu=True)
    chosen = nearest_device(devices, here)
    processor = nearest_device(devices_of(measured, gpu=False), here)
    estimator = Estimator(measured, chosen, processor, slots_per_gpu)
    open_stages = unfinished(plan, store)
    left = what_is_left(plan, open_stages, estimator)
    if all(cell.problem for cell in plan.cells):
        say(f"nobody can tell what is left of {plan.name}: none of its cells can run here")
        return
    if not left:
        say(f"nothing is left of {plan.name}")
        return
    console.print(cost_table(plan, left, estimator.on_gpu))
    console.print(basis_table(left.values()))
    unknown = Counter(
        (one.stage.kind, estimator.devices[takes_gpu(one.stage)] or "any device")
        for one in left.values()
        if one.basis is Basis.UNKNOWN
    )
    for (kind, device), count in unknown.items():
        say(f"unknown: {count} stages of kind {kind}, none of which was measured on {device}")
    say(_total_line(total(left.values()), left, estimator.on_gpu))
    if slots is not None:
        seconds = wall_seconds(left, estimator, slots)
        say(f"with --slots {slots}: {at_least(left)}about {duration(seconds)}")
    say(_devices_line(chosen, processor, here, len(measured)))
    for other in devices:
        if other != chosen:
            again = Estimator(measured, other, processor, slots_per_gpu)
            rest = what_is_left(plan, open_stages, again)
            say(f"as measured on {other}: {_total_line(total(rest.values()), rest, again.on_gpu)}")
    if estimator.on_gpu and any(one.stage.needs.gpus is None for one in left.values()):
        say(
            f"a stage that declares no share of a GPU counts as 1/{slots_per_gpu} of one "
            "(--slots-per-gpu)"
        )
    if without:
        say(
            f"{len(without)} stages that are done are not counted: their attempts ran on "
            "different devices, or left no record"
        )


def cost_table(plan: Plan, left: dict[str, Left], on_gpu: bool) -> Table:
    """Return a line per cell; a stage that cells share counts in each of them."""
    from im_bench.terminal import Table

    caption = "what cells share counts in each of them, and once in the sum"
    table = Table(title=f"{plan.name}: what is left", caption=caption)
    table.add_column("cell")
    columns = ("stages", "running", *(["GPU hours"] if on_gpu else []), "slot hours", "unknown")
    for name in columns:
        table.add_column(name, justify="right")

    def row(name: str, parts: Sequence[Left], style: str = "") -> None:
        amount = total(parts)
        unknown = sum(one.basis is Basis.UNKNOWN for one in parts)
        known = len(parts) > unknown or not parts
        table.add_row(
            name,
            str(len(parts)),
            str(sum(one.running for one in parts)),
            *([hours(amount.gpu_seconds) if known else "?"] if on_gpu else []),
            hours(amount.slot_seconds) if known else "?",
            str(unknown),
            style=style,
        )

    for cell in plan.cells:
        if cell.problem:
            table.add_row(f"{cell.name} (left out)", *("?" for _ in columns), style="dim")
            continue
        stages = plan.graph.closure(cell.finals.values(), lambda stage: stage.key not in left)
        row(cell.name, [left[stage.key] for stage in stages])
    table.add_section()
    row("all", list(left.values()), "bold")
    return table


def basis_table(left: Collection[Left]) -> Table:
    """Return how many stages' estimates rest on what."""
    from im_bench.terminal import Table

    counts = Counter(one.basis for one in left)
    table = Table("estimated by the mean of done stages of the")
    table.add_column("stages", justify="right")
    for basis in Basis:
        if counts[basis]:
            table.add_row(basis.value, str(counts[basis]))
    return table


def hours(seconds: float) -> str:
    """Return a number of hours with about three digits that mean something."""
    value = seconds / 3600
    digits = next((n for n, limit in ((0, 100), (1, 10), (2, 1)) if value >= limit), 3)
    return f"{value:.{digits}f}"


def at_least(left: dict[str, Left]) -> str:
    """Return the words that go before a sum from which something is missing."""
    unknown = any(one.basis is Basis.UNKNOWN for one in left.values())
    return "at least " if unknown else ""


def _total_line(amount: Amount, left: dict[str, Left], on_gpu: bool) -> str:
    if all(one.basis is Basis.UNKNOWN for one in left.values()):
        return f"unknown: none of the {len(left)} stages that are left resembles one that is done"
    parts = [f"{hours(amount.gpu_seconds)} GPU hours"] if on_gpu else []
    parts.append(f"{hours(amount.slot_seconds)} slot hours")
    parts.append(f"{hours(amount.core_seconds)} CPU-core hours")
    return f"{at_least(left)}{', '.join(parts)} left"


def _devices_line(chosen: str | None, processor: str | None, here: list[str], count: int) -> str:
    if chosen is None and processor is None:
        return "nothing was measured yet: run something of the suite first"
    named = [
        f"{device}{'' if device in here else ' (not in this machine)'}"
        for device in dict.fromkeys((chosen, processor))
        if device is not None
    ]
    kinds = (
        "; the time of stages that take no GPU is the processor's"
        if chosen and processor and not is_processor(chosen)
        else ""
    )
    return f"measured on {' and '.join(named)}, {count} stages in all{kinds}"
