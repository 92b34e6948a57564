"""``im-bench show``: one cell in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from im_bench.cli.options import (
    DATA_ROOT,
    OUT,
    BudgetOption,
    DataRootOption,
    DeviceOption,
    OutOption,
    SeedsOption,
    SuiteOption,
    load_plan,
)
from im_bench.errors import ImBenchError

if TYPE_CHECKING:
    from im_bench.planning.plan import Cell, Plan
    from im_bench.runner.store import Store
    from im_bench.terminal import Console, Table


def show(
    cell: Annotated[
        str, typer.Argument(metavar="CELL", help="DATA/SPLIT/METHOD, or with a seed: .../s1.")
    ],
    suite: SuiteOption,
    out: OutOption = OUT,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    seeds: SeedsOption = None,
    config: Annotated[
        bool,
        typer.Option(
            "--config", help="Print the config of a training, for python tools/train.py FILE."
        ),
    ] = False,
    training: Annotated[
        str | None,
        typer.Option(
            "--training",
            metavar="NAME",
            help="With --config: the training, such as g1-student2.",
            show_default="the first of those that are scored",
        ),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Show one cell: its stages, scores and shares by generation, provenance and folders.

    Example: im-bench show lesions/0.1/im/s1 --suite quickstart

    Example: im-bench show lesions/0.1/im/s1 --suite quickstart --config > im.py
    """
    from im_bench.planning.loading import load_suite
    from im_bench.runner.store import Store
    from im_bench.terminal import Console

    console = Console()
    plan = load_plan(suite, out, data_root, budget, seeds=seeds)
    found, chosen = find_cell(plan, cell)
    store = Store(out)
    if config:
        from im_bench.cli.show_config import training_config

        typer.echo(training_config(plan, found, chosen[0], store, training, device))
        return
    console.print(f"{found.name}: {found.title}, {plan.name}", style="bold")
    method = load_suite(plan.path)[1][found.method]
    fields = method.model_dump(exclude_none=True)
    console.print(", ".join(f"{name} {value}" for name, value in fields.items()))
    if found.problem:
        console.print(found.problem)
    console.print(_labelled(plan, found, store))
    if store.stages.is_dir():
        console.print(f"folders are below {store.stages}")
    for seed in chosen:
        _show_seed(plan, found, seed, store, console)


def find_cell(plan: Plan, name: str) -> tuple[Cell, list[int]]:
    """Return the cell of that name and the seeds that are meant: all, or the one that is named.

    Raises:
        ImBenchError: If there is no such cell or seed.
    """
    head, _, tail = name.rpartition("/")
    if not (tail.startswith("s") and tail[1:].isdecimal() and head.count("/") == 2):
        cell = plan.cell(name)
        return cell, list(cell.finals)
    cell, seed = plan.cell(head), int(tail[1:])
    if seed not in cell.finals:
        known = ", ".join(f"s{known}" for known in cell.finals)
        raise ImBenchError(f"cell {head} has no seed {seed} in this plan: it has {known}")
    return cell, [seed]


def _show_seed(plan: Plan, cell: Cell, seed: int, store: Store, console: Console) -> None:
    final = plan.graph[cell.finals[seed]]
    console.print(f"s{seed}", style="bold")
    console.print(_stages_table(plan, cell, seed, store))
    for stage in plan.closure([final.key]):
        result = store.result(stage)
        errors = store.errors(stage)
        if result is None and errors:
            console.print(f"failed: {stage.slug}: {errors[-1]['message']}")
        elif result is not None and "teachers" in result["outcome"]:
            console.print(f"teachers of {stage.slug}: {', '.join(result['outcome']['teachers'])}")
    result = store.result(final)
    if result is None:
        console.print(f"no scores yet: {store.status(final).value}")
        return
    console.print(_scores_table(result["outcome"]))
    for made in store.folder(final).provenances()[-1:]:
        console.print(_provenance(made))
    console.print(f"scores in {store.folder(final).path}")


def _provenance(made: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items())
    dirty = " with changes" if made.get("dirty") else ""
    return (
        f"commit {made.get('commit') or 'unknown'}{dirty}; {versions}; "
        f"{made.get('device')} on {made.get('host')}; {made.get('start')}"
    )


def _labelled(plan: Plan, cell: Cell, store: Store) -> str:
    """Say which images the cell's method sees labels of."""
    from im_bench.report.labelled import labelled_images
    from im_bench.report.results import rows_of

    found = labelled_images(plan, store, cell.data)
    if any(row.all_labels for row in rows_of(plan) if row.method == cell.method):
        return "labelled: the method trains on the labels of all training images"
    if found is None:
        share = plan.suite.data[cell.data].labelled
        return f"labelled: {share if share == 'file' else f'{share:.0%}'}, data not packed yet"
    return f'labelled: {found.text}, listed under "labelled" in {found.file}'


def _stages_table(plan: Plan, cell: Cell, seed: int, store: Store) -> Table:
    """Return a line per stage: of those that exist the folder, of others the name."""
    from im_bench.terminal import Table

    table = Table("stage", "kind", "state")
    for name in ("seconds", "attempts"):
        table.add_column(name, justify="right")
    for stage in plan.closure([cell.finals[seed]]):
        result = store.result(stage) or {}
        table.add_row(
            stage.folder if store.folder(stage).path.is_dir() else stage.slug,
            stage.kind,
            store.status(stage).value,
            f"{result['seconds']:.1f}" if "seconds" in result else "",
            str(result.get("attempts", "")),
        )
    return table


def _scores_table(outcome: Mapping[str, Any]) -> Table:
    """Return a line per generation: scores, shares kept, and which training was chosen."""
    from im_bench.report.tables.build import SHARES
    from im_bench.terminal import Table

    generations = outcome.get("generations", [])
    metrics = list(dict.fromkeys(name for g in generations for name in g.get("test", {})))
    shares = [name for name in SHARES if any(name in g for g in generations)]
    headline = outcome.get("metric", "")
    table = Table(
        "generation",
        f"val {headline}",
        *(f"test {name}" for name in metrics),
        *(name.replace("_", " ") for name in shares),
        "chosen by validation",
    )
    for g in generations:
        reported = g["generation"] == outcome.get("selected_generation")
        table.add_row(
            f"{g['generation']}{' (reported)' if reported else ''}",
            _number(g.get("val", {}).get(headline)),
            *(_number(g.get("test", {}).get(name)) for name in metrics),
            *(_number(g.get(name)) for name in shares),
            str(g.get("selected", "")),
        )
    return table


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else ""
