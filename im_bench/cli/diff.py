"""``im-bench diff``: what differs between two cells."""

from __future__ import annotations

from pathlib import Path
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
from im_bench.errors import ImBenchError

if TYPE_CHECKING:
    from im_bench.runner.comparison import Difference, Side
    from im_bench.terminal import Table


def diff(
    cell: Annotated[
        str, typer.Argument(metavar="CELL", help="DATA/SPLIT/METHOD, or with a seed: .../s1.")
    ],
    suite: SuiteOption,
    other: Annotated[
        str | None,
        typer.Argument(metavar="CELL", help="The cell to compare it with. Default: the same."),
    ] = None,
    out: OutOption = OUT,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    seeds: SeedsOption = None,
    suite2: Annotated[
        str | None, typer.Option("--suite2", help="Of the second cell. Default: the first's.")
    ] = None,
    out2: Annotated[
        Path | None, typer.Option("--out2", help="Of the second cell. Default: the first's.")
    ] = None,
    budget2: Annotated[
        str | None, typer.Option("--budget2", help="Of the second cell. Default: the first's.")
    ] = None,
) -> None:
    """Show what differs between two cells, from configs and versions to results.

    What is equal is left out.

    Examples: im-bench diff lesions/0.1/im lesions/0.1/me --suite quickstart

    im-bench diff lesions/0.1/im/s1 --suite quickstart --out runs --out2 runs-on-gpu
    """
    from im_bench.runner.comparison import Side, compare
    from im_bench.runner.store import Store
    from im_bench.terminal import Console

    def side(suite: str, name: str, out: Path, budget: str | None) -> Side:
        plan = load_plan(suite, out, data_root, budget, seeds=seeds)
        found, chosen = find_cell(plan, name)
        return Side(plan, found, tuple(chosen), Store(out))

    given = [(suite, cell, out, budget)]
    given.append((suite2 or suite, other or cell, out2 or out, budget2 or budget))
    if given[0] == given[1]:
        raise ImBenchError(
            "these are one and the same cell: name another, or another --out2, --suite2 or "
            "--budget2"
        )
    left, right = (side(*one) for one in given)
    differences = compare(left, right)
    if not differences:
        typer.echo("nothing differs")
        return
    called = ((cell, left.plan.name, str(out)), (other or cell, right.plan.name, str(out2 or out)))
    # Each by all in which they differ.
    names = [(a, b) for a, b in zip(*called, strict=True) if a != b]
    titles = ("\n".join(each) for each in zip(*names, strict=True))
    Console().print(differences_table(differences, *titles))


def differences_table(differences: list[Difference], left: str = "", right: str = "") -> Table:
    """Return a line per difference."""
    from im_bench.terminal import Table

    table = Table(caption="what is equal is left out")
    for name in ("what", left, right, "where"):
        table.add_column(name)
    section = differences[0].section
    for one in differences:
        if one.section != section:
            table.add_section()
            section = one.section
        what = f"{one.section}: {one.what}" if one.section != one.what else one.what
        table.add_row(what, one.left, one.right, one.where)
    return table
