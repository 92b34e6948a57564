"""``im-bench tune``: search a method's fields on held-out data, and use what was found."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
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
    MethodsOption,
    OutOption,
    PartitionOption,
    RunDeviceOption,
    SeedsOption,
    SlotsOption,
    SlotsPerGpuOption,
    StorageOption,
    TimeLimitOption,
    TrackingOption,
    known_budget,
    listed,
    load_engine,
    load_plan,
    read_seed,
)
from im_bench.cli.run import command_line, run_cells, show_table, tell
from im_bench.cli.tune_show import list_studies, show
from im_bench.errors import ImBenchError, unknown_name

if TYPE_CHECKING:
    from im_bench.planning.plan import Plan
    from im_bench.runner.engines.options import EngineOptions
    from im_bench.runner.store import Store
    from im_bench.terminal import Console
    from im_bench.tuning.session import Choices, Ran, Task

app = typer.Typer(invoke_without_command=True)
app.command("show")(show)
app.command("list")(list_studies)

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
    fair: Annotated[
        bool,
        typer.Option(
            "--fair",
            help="Tune every method of the suite (or --methods) with as many trials each, then "
            "run all with their tuned and with their own values on the suite's seeds.",
        ),
    ] = False,
    methods: MethodsOption = None,
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
    min_coverage: Annotated[
        float | None,
        typer.Option(
            "--min-coverage",
            metavar="SHARE",
            help="Of pseudo-labels: what keeps a smaller share of the pixels is not among the "
            "best.",
        ),
    ] = None,
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
        _refuse_early_options(context)
        return

    from im_bench.planning.loading import suite_path
    from im_bench.runner.store import Store
    from im_bench.terminal import Console
    from im_bench.tuning.session import Choices, make_task
    from im_bench.tuning.tuned import tuned_of, tuned_suite, write_tuned_suite

    if suite is None or (method is None) is not fair:
        raise ImBenchError(
            "say what to tune: --suite SUITE with --method METHOD, or with --fair for all methods"
        )
    if objective not in OBJECTIVES:
        raise unknown_name("objective", objective, OBJECTIVES)
    by_labels = objective == "pseudo-labels"
    if by_labels and fair:
        raise ImBenchError("--fair compares by training: leave --objective out")
    if min_coverage is not None and not (by_labels and 0 < min_coverage < 1):
        raise ImBenchError(
            "--min-coverage is a share between 0 and 1, with --objective pseudo-labels"
        )
    path, console = suite_path(suite), Console()
    choices = Choices(trials, parallel, sampler, pruner, study, sampler_seed)
    options = load_engine(engine, slots, gpus, slots_per_gpu, address, partition, device)
    if not options.runs:
        raise ImBenchError(
            f"--engine {options.engine} lists the commands of a plan, and a search makes its plan "
            "as it goes: choose an engine that runs them"
        )
    of_task = partial(
        make_task,
        path,
        out=out,
        data_root=data_root,
        data=listed("--data", data, str),
        seeds=listed("--seeds", seeds, read_seed),
        budget=known_budget(budget),
        objective="pseudo-labels" if by_labels else "training",
        space=space,
        hold_out=hold_out,
        minutes=time_limit,
    )
    if method is not None and by_labels:
        labels = partial(search_labels, attempts=attempts, min_coverage=min_coverage)
        raise typer.Exit(labels(of_task(method), choices, storage, options, console))
    if method is not None:
        ran = search(of_task(method), choices, storage, options, console, attempts, tracking)
        raise typer.Exit(ran.exit_code)
    chosen = searchable(path, listed("--methods", methods, str), alike=(space, study))
    found = []
    for name in chosen:
        console.print(name, style="bold")
        ran = search(of_task(name), choices, storage, options, console, attempts, tracking)
        if ran.summary.interrupted:
            raise typer.Exit(ran.exit_code)
        found.append(tuned_of(ran.study))
    written = write_tuned_suite(tuned_suite(path, found, beside=True), path, out)
    console.print("tuned and own values, on the suite's seeds", style="bold")
    plan = load_plan(str(written), out, data_root, budget, data=data, time_limit=time_limit)
    raise typer.Exit(run_both(plan, Store(out), options, attempts, tracking, console))


def _refuse_early_options(context: typer.Context) -> None:
    """Options before ``show``, ``list`` or ``freeze`` would be read for a search, and ignored."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option, command = f"--{name.replace('_', '-')}", context.invoked_subcommand
            raise ImBenchError(f"{option} stands before {command}: put it behind, tune {command}")


def run_both(
    plan: Plan,
    store: Store,
    options: EngineOptions,
    attempts: int,
    tracking: bool,
    console: Console,
) -> int:
    """Run a suite of tuned and own values, show its table, and return the exit status."""
    from im_bench.runner.scheduler import Policy

    summary = run_cells(plan, store, options, Policy.RETRY_FAILED, attempts, tracking, console)
    tell(summary, console, _given(), _given())
    show_table(plan, store, console)
    console.print(f"the tuned suite, for tables: --suite {plan.path}")
    return summary.exit_code


def searchable(
    path: Path, methods: Sequence[str] | None, alike: tuple[Path | None, str | None]
) -> list[str]:
    """Return the methods of a suite that have something to search.

    Args:
        path: The suite's file.
        methods: Those among which to look; all by default.
        alike: What cannot be the same for several methods: a file of ranges, a study's name.

    Raises:
        ImBenchError: A name does not exist, nothing is left, or something cannot be the same.
    """
    from im_bench.planning.loading import load_suite

    for option, value in zip(("--space", "--study"), alike, strict=True):
        if value is not None:
            raise ImBenchError(f"{option} is for one method: leave it out with --fair")
    built = load_suite(path)[1]
    for name in methods or ():
        if name not in built:
            raise unknown_name("method in this suite", name, built)
    chosen = [name for name in methods or built if built[name].ranges()]
    if not chosen:
        raise ImBenchError("none of these methods declares anything that a search could try")
    return chosen


@app.command()
def freeze(
    study: Annotated[str, typer.Argument(metavar="STUDY")],
    to: Annotated[
        Path | None, typer.Option("--to", help="The folder. Default: tuned, here.")
    ] = None,
    storage: StorageOption = None,
    out: OutOption = OUT,
) -> None:
    """Write a study's best values as a config, with the study, the data and the budget.

    Example: im-bench tune freeze u2pl-nuclei-1a2b3c4d
    """
    from im_bench.tuning.storage import existing_storage, open_storage
    from im_bench.tuning.study import load_study
    from im_bench.tuning.tuned import FROZEN, tuned_of
    from im_bench.tuning.tuned import freeze as write

    found = load_study(open_storage(existing_storage(storage, out)), study)
    sys.stdout.write(f"{write(tuned_of(found), to or FROZEN)}\n")


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
    from im_bench.report.tracking.mirror import Mirror
    from im_bench.tuning.session import run_search
    from im_bench.tuning.storage import open_storage, storage_name

    with open_storage(storage_name(storage, task.out)) as opened:
        ran = run_search(
            task,
            choices,
            opened,
            options,
            console,
            attempts=attempts,
            mirrored=lambda plan, group: Mirror(task.out, plan, tracking, group=group),
        )
        counts = ", ".join(f"{count} {state}" for state, count in ran.counts.items())
        say = partial(console.print)
        say(f"study {ran.study.study_name}: {counts or 'no trial yet'}")
        if ran.summary.interrupted:
            say(f"stopped; nothing that was finished is lost. Continue with:\n  {_given()}")
        else:
            say(f"what was found:\n  {_about('show', ran.study.study_name, storage, task.out)}")
    return ran


def search_labels(
    task: Task,
    choices: Choices,
    storage: str | None,
    options: EngineOptions,
    console: Console,
    attempts: int,
    min_coverage: float | None,
) -> int:
    """Search on cached predictions, say how it went, and return the exit status."""
    from rich.progress import Progress

    from im_bench.runner.events import Event
    from im_bench.tuning.labels.session import run_label_search
    from im_bench.tuning.storage import open_storage, storage_name

    say = partial(console.print)

    def tell(event: Event) -> None:
        say(f"{event.what.value} {event.stage.slug}{f': {event.detail}' if event.detail else ''}")

    with (
        open_storage(storage_name(storage, task.out)) as opened,
        Progress(console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        line = bar.add_task("trials", total=None)
        study = run_label_search(
            task,
            choices,
            opened,
            options,
            attempts=attempts,
            min_coverage=min_coverage,
            device=getattr(options, "device", "auto"),
            on_event=tell,
            on_batch=lambda done, total: bar.update(line, completed=done, total=total),
        )
    if study is None:
        say(f"stopped; nothing that was finished is lost. Continue with:\n  {_given()}")
        return 130
    say(f"study {study.study_name}: {len(study.trials)} trials")
    say(f"what was found:\n  {_about('show', study.study_name, storage, task.out)}")
    return 0


def _given() -> str:
    """Return the command that was given, without a password."""
    return command_line(*map(_safe, sys.argv[1:]))


def _safe(word: str) -> str:
    from im_bench.tuning.storage import shown

    option, equals, value = word.partition("=")
    if equals and option == "--storage":
        return f"{option}={_safe(value)}"
    return shown(word) if re.match(r"(postgres|mysql)\w*(\+\w+)?://", word) else word


def _about(command: str, study: str, storage: str | None, out: Path) -> str:
    """Return a command about a study that finds it where it is."""
    where = ["--storage", _safe(storage)] if storage else []
    return command_line(
        "tune", command, study, *where, *(["--out", str(out)] if out != OUT else [])
    )
