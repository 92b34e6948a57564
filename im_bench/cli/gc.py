"""``im-bench gc``: removes what no suite wants any more."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from im_bench.cli.options import DATA_ROOT, OUT, DataRootOption, OutOption
from im_bench.errors import ImBenchError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from im_bench.runner.garbage import Garbage


def gc(
    out: OutOption = OUT,
    suite: Annotated[
        list[str] | None,
        typer.Option(
            "--suite",
            help="A suite, by name or file, whose stages stay; may be repeated. Name all that were "
            "run into the folder: what none of them refers to is garbage.",
        ),
    ] = None,
    data_root: DataRootOption = DATA_ROOT,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it without asking.")] = False,
) -> None:
    """List what a results folder holds that nobody wants, and remove it if you agree.

    That is: temporary files that killed writes have left, scratch folders of done stages and, only
    with --suite, folders of stages to which no suite refers. Referred to is what the named suites,
    those that the folder remembers and the built-in ones take, under both budgets and with every
    seed that has results. Kept are also all stages of data sets that no named suite has or that are
    not at --data-root, what kept stages need, and whatever a living process holds. Exit status: 1
    if something could not be removed.

    Examples: im-bench gc --out runs

    im-bench gc --out runs --suite from-scratch --suite my-suite.yaml
    """
    from im_bench.planning.loading import suite_path
    from im_bench.runner.garbage import remove, survey
    from im_bench.runner.store import Store

    store = Store(out)
    if not store.stages.exists():
        raise ImBenchError(f"{out} is no results folder: it has no folder 'stages'")
    paths = [suite_path(name) for name in suite or []]
    found = survey(store, paths, data_root)
    for one in found.garbage:
        place = one.path.relative_to(store.stages)
        typer.echo(f"{one.kind.value:9} {size(one.size):>9}  {place}")
    for sentence in found.kept:
        typer.echo(f"kept: {sentence}")
    if not paths:
        typer.echo("stages were not looked at: name the suites that were run here with --suite")
    if not found.garbage:
        typer.echo(f"nothing to remove in {store.stages}")
        return
    typer.echo(f"{_counted(found.garbage)} in {store.stages}")
    if not yes:
        if not sys.stdin.isatty():
            typer.echo("nothing was removed: add --yes to remove it")
            return
        if not typer.confirm("Remove all of this for good?"):
            typer.echo("nothing was removed")
            return
    why = {one: remove(one) for one in found.garbage}
    for sentence in filter(None, why.values()):
        typer.echo(f"still there: {sentence}")
    typer.echo(f"freed {size(sum(one.size for one, reason in why.items() if not reason))}")
    raise typer.Exit(1 if any(why.values()) else 0)


def _counted(garbage: Iterable[Garbage]) -> str:
    counts = Counter(one.kind.value for one in garbage)
    named = {"stage": "stages", "scratch": "scratch folders", "temporary": "temporary files"}
    parts = [f"{counts[kind]} {name}" for kind, name in named.items() if counts[kind]]
    return f"{', '.join(parts)}: {size(sum(one.size for one in garbage))}"


def size(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
