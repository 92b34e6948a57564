"""``im-bench tune show`` and ``tune list``: what studies have found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from im_bench.cli.options import OUT, OutOption, StorageOption
from im_bench.errors import ImBenchError


def show(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study.")],
    storage: StorageOption = None,
    out: OutOption = OUT,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Write a page, index.html, into this folder."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="List all trials, not only those that tell the most.")
    ] = False,
) -> None:
    """Show a study: its best trial beside the method's own values, which fields matter, all trials.

    Nothing is run or written but the page. Scores are of validation images: those of the best of
    many trials are too good, and test images tell what they are worth.

    Example: im-bench tune show u2pl-nuclei-3aefb1e8 --to public
    """
    from im_bench.report.tuning.findings import findings
    from im_bench.terminal import Console
    from im_bench.tuning.storage import existing_storage, open_storage, shown
    from im_bench.tuning.study import load_study

    opened = open_storage(existing_storage(storage, out))
    found = findings(load_study(opened, study), shown(opened.name))
    if to is None:
        from im_bench.report.tuning.terminal import render_study

        console = Console()
        console.print(render_study(found, every, console.width))
        return
    from im_bench.report.page.shell import write_page
    from im_bench.report.tuning.page import make_page

    page = make_page(found)
    typer.echo(f"{write_page(to, page)} ({len(page.encode()) / 1e6:.1f} MB)")


def list_studies(storage: StorageOption = None, out: OutOption = OUT) -> None:
    """List the studies of a storage with their trials and best values.

    Example: im-bench tune list --out runs
    """
    from im_bench.report.tuning.overview import render_studies, studies_of
    from im_bench.terminal import Console
    from im_bench.tuning.storage import existing_storage, open_storage, shown

    opened = open_storage(existing_storage(storage, out))
    studies = studies_of(opened)
    if not studies:
        raise ImBenchError(
            f"{shown(opened.name)} holds no study: begin one with `im-bench tune`, or say with "
            "--storage where it is"
        )
    Console().print(render_studies(studies, shown(opened.name)), highlight=False)
