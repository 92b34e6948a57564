"""``im-bench run``: a suite, from whatever exists to a results table."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from im_bench.cli.listing import other_keys
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
    SuiteOption,
    TableOption,
    TimeLimitOption,
    TrackingOption,
    listed,
    load_engine,
    load_plan,
    read_seed,
)
from im_bench.errors import unknown_name

if TYPE_CHECKING:
    from im_bench.planning.plan import Plan
    from im_bench.runner.engines.options import EngineOptions
    from im_bench.runner.events import Event, Summary
    from im_bench.runner.scheduler import Policy
    from im_bench.runner.store import Store
    from im_bench.terminal import Console


def run(
    suite: SuiteOption,
    out: OutOption = OUT,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    methods: MethodsOption = None,
    data: DataOption = None,
    seeds: SeedsOption = None,
    engine: EngineOption = "local",
    slots: SlotsOption = None,
    gpus: GpusOption = None,
    slots_per_gpu: SlotsPerGpuOption = None,
    address: AddressOption = None,
    partition: PartitionOption = None,
    device: RunDeviceOption = None,
    policy: Annotated[
        str,
        typer.Option(
            help="only-missing, retry-failed, always (redo all) or never (only the table)."
        ),
    ] = "only-missing",
    attempts: AttemptsOption = 2,
    time_limit: TimeLimitOption = None,
    tracking: TrackingOption = True,
    log_checkpoints: Annotated[
        bool,
        typer.Option("--log-checkpoints", help="Mirror the network of each training, too."),
    ] = False,
    use_tuned: Annotated[
        str | None,
        typer.Option(
            "--use-tuned",
            metavar="STUDY,...",
            help="Methods with the values that these studies found; names, or files that "
            "`im-bench tune freeze` wrote.",
        ),
    ] = None,
    storage: StorageOption = None,
    table: TableOption = True,
) -> None:
    """Run a suite: whatever is missing is made, then the results are shown.

    The same command continues after a stop. Exit status: 0 done, 1 something failed, 2 wrong
    input, 130 interrupted.

    Examples: im-bench run --suite quickstart

    im-bench run --suite from-scratch --gpus 0,1 --slots-per-gpu 4

    im-bench run --suite cityscapes --engine slurm --partition gpu
    """
    from im_bench.runner.scheduler import Policy
    from im_bench.runner.store import Store
    from im_bench.suites.networks import needs_of_networks
    from im_bench.terminal import Console

    names = [one.value for one in Policy]
    if policy not in names:
        raise unknown_name("policy", policy, names)
    console = Console()
    options = load_engine(engine, slots, gpus, slots_per_gpu, address, partition, device)
    if use_tuned is not None:
        suite = str(with_tuned(suite, use_tuned, storage, out, seeds))
        console.print(f"the tuned suite, for tables: --suite {suite}")
    plan = load_plan(suite, out, data_root, budget, methods, data, seeds, time_limit)
    store = Store(out)
    if not options.runs:
        print_commands(plan, store)
        return
    if others := other_keys(store, plan):
        console.print(f"note: {others}")
    downloads = needs_of_networks(plan.graph).downloads
    for warning in (*(one for of_data in plan.warnings.values() for one in of_data), *downloads):
        console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)
    summary = run_cells(
        plan, store, options, Policy(policy), attempts, tracking, console, log_checkpoints
    )
    # What "always" discarded is missing now; to discard again would lose what was redone.
    go_on = _command("only-missing" if policy == Policy.ALWAYS.value else None)
    tell(summary, console, go_on, _command("retry-failed"), corrected=go_on)
    if table:
        show_table(plan, store, console)  # which warns of trainings, too
    else:
        show_warnings(plan, store, console)
    raise typer.Exit(summary.exit_code)


def with_tuned(suite: str, named: str, storage: str | None, out: Path, seeds: str | None) -> Path:
    """Write a suite whose methods have the values that studies found; return its file.

    Args:
        suite: Name or file of the suite.
        named: Studies, separated by commas.
        storage: Where they are kept.
        out: The results folder.
        seeds: Instead of the suite's own.

    Raises:
        ImBenchError: There is no such study, or a seed is one that was tuned on.
    """
    from im_bench.planning.loading import suite_path
    from im_bench.tuning.storage import storage_name
    from im_bench.tuning.tuned import find_tuned, tuned_suite, write_tuned_suite

    path, kept = suite_path(suite), storage_name(storage, out)
    found = [find_tuned(name, kept) for name in listed("--use-tuned", named, str) or ()]
    tuned = tuned_suite(path, found, seeds=listed("--seeds", seeds, read_seed))
    return write_tuned_suite(tuned, path, out)


def run_cells(
    plan: Plan,
    store: Store,
    options: EngineOptions,
    policy: Policy,
    attempts: int,
    tracking: bool,
    console: Console,
    checkpoints: bool = False,
) -> Summary:
    """Run a plan on an engine, with a view on the console and a mirror on Weights & Biases.

    Raises:
        ImBenchError: Nothing can run, or the engine is not to be had.
    """
    from im_bench.errors import ImBenchError
    from im_bench.report.tracking.mirror import Mirror
    from im_bench.runner.engines.base import Task
    from im_bench.runner.events import Summary
    from im_bench.runner.interrupt import stop_on_signals
    from im_bench.runner.plan_run import Retries
    from im_bench.runner.progress import make_view
    from im_bench.runner.scheduler import Policy, run_plan, wanted_stages

    if policy is Policy.NEVER:
        return Summary(refused={cell.name: cell.problem for cell in plan.cells if cell.problem})
    total = len(wanted_stages(plan))
    store.make()
    store.remember(plan.path)
    with (
        stop_on_signals() as stop,
        closing(options.make(store.out)) as engine,
        Mirror(store.out, plan, tracking, checkpoints) as mirror,
        make_view(store, total, console) as view,
    ):

        def notify(event: Event) -> None:
            view(event)
            mirror(event)

        # Before anything runs: what the engine can never start.
        for needs in dict.fromkeys(stage.needs for stage in plan.graph):
            alike = [stage for stage in plan.graph if stage.needs == needs]
            try:
                engine.fits(Task(store.folder(alike[0]), needs))
            except ImBenchError:
                if any(store.result(stage) is None for stage in alike):
                    raise
        return run_plan(plan, store, engine, policy, notify, stop, retries=Retries(attempts))


def print_commands(plan: Plan, store: Store) -> None:
    """Print the commands that run what is missing of a plan."""
    from im_bench.runner.engines.commands import waves
    from im_bench.runner.scheduler import wanted_stages

    stages = wanted_stages(plan)
    store.make()
    store.remember(plan.path)
    for number, commands in enumerate(waves(plan, store, stages), 1):
        after = f", after all of wave {number - 1}" if number > 1 else ""
        sys.stdout.write(f"# wave {number}: {len(commands)} commands in any order{after}\n")
        sys.stdout.writelines(f"{command}\n" for command in commands)


def tell(
    summary: Summary, console: Console, go_on: str, again: str, corrected: str | None = None
) -> None:
    """Say what went wrong, and how to go on.

    Args:
        summary: How the run ended.
        console: Where to say it.
        go_on: The command that goes on after a stop.
        again: The command that tries again what failed.
        corrected: The command that goes on once wrong input is corrected; ``again`` by default.
    """

    def say(text: str) -> None:
        console.print(text)

    for slug, sentence in summary.failed.items():
        say(f"failed: {slug}: {sentence}")
    if summary.skipped:
        say(f"skipped: {len(summary.skipped)} stages that need a failed one")
    for name, sentence in summary.refused.items():
        say(f"left out: {name}: {sentence}")
    if summary.interrupted:
        say(f"stopped; nothing that was finished is lost. Continue with:\n  {go_on}")
        return
    if summary.to_correct:
        say(f"correct what is wrong there, then run again:\n  {corrected or again}")
    if set(summary.failed) - summary.to_correct:
        say(f"try the failed ones again with:\n  {again}")


def command_line(*words: str) -> str:
    """Return a command of im-bench as the user's shell finds it."""
    by_path = Path(sys.argv[0]).name == "im-bench" and not shutil.which("im-bench")
    return shlex.join([sys.argv[0] if by_path else "im-bench", *words])


def _command(policy: str | None = None) -> str:
    """Return the command that was given, with another policy if one is named."""
    given = command_line(*sys.argv[1:])
    if policy is None:
        return given
    return re.sub(r" --policy[ =]\S+", "", given) + f" --policy {policy}"


def show_table(plan: Plan, store: Store, console: Console) -> None:
    """Print the results of a plan, as far as they are there."""
    from im_bench.report.tables.build import results_table
    from im_bench.report.tables.rendering import render_terminal

    console.print(render_terminal(results_table(plan, store)))


def show_warnings(plan: Plan, store: Store, console: Console) -> None:
    """Print what the trainings of a plan warn of."""
    from im_bench.report.results import CellResults

    for warning in CellResults(plan, store).warnings():
        console.print(warning, markup=False, highlight=False, soft_wrap=True)
