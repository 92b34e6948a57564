"""``im-bench tune``: search a method's fields on held-out data, and use what was found."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from im_bench.cli.options import (
    DATA_ROOT,
    OUT,
    AddressOption,
    AttemptsOption,
    BudgetOption,
    DataOption,
    DataRootOption,
    EngineOption,
    GpusOption,
    OutOption,
    PartitionOption,
    RunDeviceOption,
    SeedsOption,
    SlotsOption,
    SlotsPerGpuOption,
    TimeLimitOption,
    TrackingOption,
    known_budget,
    listed,
    load_engine,
    read_seed,
)
from im_bench.cli.run import command_line
from im_bench.errors import ImBenchError, unknown_name

if TYPE_CHECKING:
    from rich.console import Console

    from im_bench.runner.engines.options import EngineOptions
    from im_bench.tuning.session import Choices, Ran, Task

app = typer.Typer(invoke_without_command=True)

StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="FILE_OR_URL",
        help="Where studies are kept: a journal file (one machine), or a database such as "
        "postgresql://USER@HOST/NAME (several). Default: tuning/studies.journal in --out.",
    ),
]
OBJECTIVES = ("training", "pseudo-labels")


@app.callback()
def tune(
    context: typer.Context,
    suite: Annotated[
        str | None, typer.Option("--suite", help="Name of a suite, or a YAML file.")
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", help="A method of the suite, such as u2pl+im.")
    ] = None,
    data: DataOption = None,
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="In all; of all workers together.")
    ] = 40,
    storage: StorageOption = None,
    space: Annotated[
        Path | None,
        typer.Option(
            "--space", metavar="FILE", help="Ranges, instead of those that the method declares."
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            help="training: validation scores. pseudo-labels: quality and coverage of the labels "
            "that cached predictions give, for fields that need no training."
        ),
    ] = "training",
    seeds: SeedsOption = None,
    hold_out: Annotated[
        float | None,
        typer.Option(
            "--hold-out",
            metavar="SHARE",
            help="Score this share of the labelled images instead of the validation images.",
        ),
    ] = None,
    sampler: Annotated[str, typer.Option(help="tpe, random or qmc.")] = "tpe",
    pruner: Annotated[
        str,
        typer.Option(
            help="median, hyperband, wilcoxon (for a mean over many seeds and data sets) or none."
        ),
    ] = "median",
    study: Annotated[
        str | None, typer.Option("--study", metavar="NAME", help="Instead of a name of its own.")
    ] = None,
    parallel: Annotated[
        int, typer.Option("--parallel", min=1, help="Most trials at a time, of this worker.")
    ] = 8,
    sampler_seed: Annotated[
        int, typer.Option("--sampler-seed", min=0, help="Of the choice of values.")
    ] = 0,
    out: OutOption = OUT,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
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
) -> None:
    """Search a method's fields: on validation images, on seeds that no table reports.

    The same command continues a study, also from other machines beside each other where --storage
    is a database. Exit status: 0 done, 1 a trial failed, 2 wrong input, 130 interrupted.

    Examples: im-bench tune --suite real-small --method u2pl --data nuclei --trials 40

    im-bench tune show STUDY
    """
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console

    from im_bench.suites.loading import suite_path
    from im_bench.tuning.session import Choices, make_task

    if suite is None or method is None:
        raise ImBenchError("say what to tune: --suite SUITE --method METHOD")
    if objective not in OBJECTIVES:
        raise unknown_name("objective", objective, OBJECTIVES)
    task = make_task(
        suite_path(suite),
        method,
        out,
        data_root,
        data=listed("--data", data, str),
        seeds=listed("--seeds", seeds, read_seed),
        budget=known_budget(budget),
        space=space,
        hold_out=hold_out,
        minutes=time_limit,
    )
    choices = Choices(trials, parallel, sampler, pruner, study, sampler_seed)
    options = load_engine(engine, slots, gpus, slots_per_gpu, address, partition, device)
    ran = search(task, choices, storage, options, Console(), attempts, tracking)
    raise typer.Exit(ran.exit_code)


def search(
    task: Task,
    choices: Choices,
    storage: str | None,
    options: EngineOptions,
    console: Console,
    attempts: int,
    tracking: bool,
) -> Ran:
    """Search by training, and say how it went and how to go on."""
    from im_bench.tuning.session import run_search
    from im_bench.tuning.storage import open_storage, storage_name

    with open_storage(storage_name(storage, task.out)) as opened:
        ran = run_search(
            task, choices, opened, options, console, attempts=attempts, tracking=tracking
        )
        counts = ", ".join(f"{count} {state}" for state, count in ran.counts.items())
        say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        say(f"study {ran.study.study_name}: {counts or 'no trial yet'}")
        if ran.summary.interrupted:
            say(f"stopped; nothing that was finished is lost. Continue with:\n  {_given()}")
        else:
            say(f"what was found:\n  {_about('show', ran.study.study_name, storage, task.out)}")
    return ran


def _given() -> str:
    return command_line(*sys.argv[1:])


def _about(command: str, study: str, storage: str | None, out: Path) -> str:
    """Return a command about a study that finds it where it is."""
    where = ["--storage", storage] if storage else []
    return command_line(
        "tune", command, study, *where, *(["--out", str(out)] if out != OUT else [])
    )
