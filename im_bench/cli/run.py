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
    SuiteOption,
    TimeLimitOption,
    listed,
    load_plan,
)
from im_bench.errors import unknown_name

if TYPE_CHECKING:
    from rich.console import Console

    from im_bench.runner.engines.options import EngineOptions
    from im_bench.runner.events import Event, Summary
    from im_bench.runner.scheduler import Policy
    from im_bench.runner.store import Store
    from im_bench.suites.plan import Plan


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
    tracking: Annotated[bool, typer.Option(help="Mirror the run to Weights & Biases.")] = True,
    log_checkpoints: Annotated[
        bool,
        typer.Option("--log-checkpoints", help="Mirror the network of each training, too."),
    ] = False,
    table: Annotated[bool, typer.Option(help="End with the results table.")] = True,
) -> None:
    """Run a suite: whatever is missing is made, then the results are shown.

    The same command continues after a stop. Exit status: 0 done, 1 something failed, 2 wrong
    input, 130 interrupted.

    Examples: im-bench run --suite quickstart

    im-bench run --suite from-scratch --gpus 0,1 --slots-per-gpu 4

    im-bench run --suite cityscapes --engine slurm --partition gpu
    """
    from rich.console import Console

    from im_bench.runner.engines.choice import engine_options
    from im_bench.runner.engines.options import PrintOptions
    from im_bench.runner.scheduler import Policy
    from im_bench.runner.store import Store

    names = [one.value for one in Policy]
    if policy not in names:
        raise unknown_name("policy", policy, names)
    console = Console()
    options = engine_options(
        engine,
        {
            "slots": slots,
            "gpus": listed("--gpus", gpus, str),
            "slots_per_gpu": slots_per_gpu,
            "address": address,
            "partition": partition,
            "device": device,
        },
    )
    plan = load_plan(suite, out, data_root, budget, methods, data, seeds, time_limit)
    store = Store(out)
    if isinstance(options, PrintOptions):
        _print_commands(plan, store)
        return
    summary = run_cells(
        plan, store, options, Policy(policy), attempts, tracking, console, log_checkpoints
    )
    _tell(summary, Policy(policy), console)
    if table:
        _show_table(plan, store, console)
    raise typer.Exit(summary.exit_code)


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
    from im_bench.report.mirror import Mirror
    from im_bench.runner.engines.choice import make_engine
    from im_bench.runner.events import Summary
    from im_bench.runner.interrupt import stop_on_signals
    from im_bench.runner.progress import make_view
    from im_bench.runner.scheduler import Policy, Retries, run_plan, wanted_stages

    if policy is Policy.NEVER:
        return Summary(refused={cell.name: cell.problem for cell in plan.cells if cell.problem})
    total = len(wanted_stages(plan))
    store.make()
    with (
        stop_on_signals() as stop,
        closing(make_engine(options)) as engine,
        Mirror(store.out, plan, tracking, checkpoints) as mirror,
        make_view(store, total, console) as view,
    ):

        def tell(event: Event) -> None:
            view(event)
            mirror(event)

        return run_plan(plan, store, engine, policy, tell, stop, retries=Retries(attempts))


def _print_commands(plan: Plan, store: Store) -> None:
    from im_bench.runner.engines.commands import waves
    from im_bench.runner.scheduler import wanted_stages

    stages = wanted_stages(plan)
    store.make()
    for number, commands in enumerate(waves(plan, store, stages), 1):
        after = f", after all of wave {number - 1}" if number > 1 else ""
        sys.stdout.write(f"# wave {number}: {len(commands)} commands in any order{after}\n")
        sys.stdout.writelines(f"{command}\n" for command in commands)


def _tell(summary: Summary, policy: Policy, console: Console) -> None:
    """Say what went wrong, and how to go on."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    for slug, sentence in summary.failed.items():
        say(f"failed: {slug}: {sentence}")
    if summary.skipped:
        say(f"skipped: {len(summary.skipped)} stages that need a failed one")
    for name, sentence in summary.refused.items():
        say(f"left out: {name}: {sentence}")
    if summary.interrupted:
        # What "always" discarded is missing now; to discard again would lose what was redone.
        command = _command("only-missing" if policy.value == "always" else None)
        say(f"stopped; nothing that was finished is lost. Continue with:\n  {command}")
    elif summary.failed:
        say(f"try the failed ones again with:\n  {_command('retry-failed')}")


def _command(policy: str | None = None) -> str:
    """Return the command that was given, with another policy if one is named."""
    by_path = Path(sys.argv[0]).name == "im-bench" and not shutil.which("im-bench")
    given = shlex.join([sys.argv[0] if by_path else "im-bench", *sys.argv[1:]])
    if policy is None:
        return given
    return re.sub(r" --policy[ =]\S+", "", given) + f" --policy {policy}"


def _show_table(plan: Plan, store: Store, console: Console) -> None:
    from im_bench.report.rendering import render_terminal
    from im_bench.report.tables import results_table

    console.print(render_terminal(results_table(plan, store)))
