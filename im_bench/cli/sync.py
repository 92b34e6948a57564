"""``im-bench sync``: what was recorded of a suite offline goes to Weights & Biases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from im_bench.cli.options import DATA_ROOT, OUT, DataRootOption, OutOption, load_plan
from im_bench.errors import ImBenchError

if TYPE_CHECKING:
    from im_bench.planning.plan import Plan


def sync(
    out: OutOption = OUT,
    suite: Annotated[
        str | None,
        typer.Option("--suite", help="First record what the mirror has not yet of this suite."),
    ] = None,
    data_root: DataRootOption = DATA_ROOT,
    log_checkpoints: Annotated[
        bool, typer.Option("--log-checkpoints", help="With --suite: the networks, too.")
    ] = False,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            metavar="FILE",
            help="With --suite: the report to attach. Default: OUT/report/index.html, if there.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be uploaded.")
    ] = False,
) -> None:
    """Upload what was recorded offline. What is there already is not uploaded again.

    Exit status: 0 all is uploaded, 1 something is left, 2 no key, no network or wrong input.

    Example: im-bench sync --out runs
    """
    from im_bench.report.tracking.sync import OfflineRuns, check_server

    if not out.is_dir():
        raise ImBenchError(f"there is no results folder {out}: name it with --out")
    if not suite and (page or log_checkpoints):
        raise ImBenchError("--page and --log-checkpoints need --suite: they are part of its record")
    if page and not page.is_file():
        raise ImBenchError(f"there is no page {page}: `im-bench report` writes one")
    plan = load_plan(suite, out, data_root) if suite else None
    if dry_run:
        parts = OfflineRuns(out).unsent()
        for part in parts:
            typer.echo(f"{part.folder} ({part.size} bytes and its files)")
        typer.echo(f"{len(parts)} parts of runs would be uploaded")
        return
    url = check_server()
    if plan:
        record(plan, out, log_checkpoints, page)
    offline = OfflineRuns(out)
    if not offline.unsent():
        typer.echo("nothing is left to upload")
        return
    synced = offline.upload(typer.echo)
    if synced.left:
        typer.echo(
            f"{synced.left} parts were not taken by {url}: {offline.log} says why; the same "
            "command tries again"
        )
        raise typer.Exit(1)


def record(plan: Plan, out: Path, checkpoints: bool, page: Path | None) -> None:
    """Mirror what lies in the stages' folders and is not yet mirrored, however long that takes."""
    from im_bench.report.tracking.mirror import Mirror
    from im_bench.runner.events import Event, EventKind
    from im_bench.runner.store import Status, Store

    store = Store(out)
    with Mirror(out, plan, checkpoints=checkpoints, patience=None, page=page) as mirror:
        for stage in store.existing(plan.graph):
            status = store.status(stage)
            if status is Status.DONE:
                mirror(Event(EventKind.PRESENT, stage))
            elif status is Status.FAILED:
                mirror(Event(EventKind.FAILED, stage, store.errors(stage)[-1]["message"]))
