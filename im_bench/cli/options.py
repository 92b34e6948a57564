"""Options that several commands share, and the plan that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, get_args

import typer

from im_bench.errors import ImBenchError, unknown_name

if TYPE_CHECKING:
    from im_bench.planning.plan import Plan
    from im_bench.runner.engines.options import EngineOptions
    from im_bench.suites.schema import BudgetName

Value = TypeVar("Value")

SuiteOption = Annotated[
    str, typer.Option("--suite", help="Name of a suite, or a YAML file that describes one.")
]
OutOption = Annotated[Path, typer.Option("--out", help="The results folder.")]
DataRootOption = Annotated[Path, typer.Option("--data-root", help="Where prepared data sets lie.")]
BudgetOption = Annotated[
    str | None,
    typer.Option("--budget", help="paper or equal, instead of the suite's own budget."),
]
MethodsOption = Annotated[
    str | None, typer.Option("--methods", metavar="A,B", help="Only these methods of the suite.")
]
DataOption = Annotated[
    str | None, typer.Option("--data", metavar="X,Y", help="Only these data sets of the suite.")
]
SeedsOption = Annotated[
    str | None, typer.Option("--seeds", metavar="1,2", help="Instead of the suite's own seeds.")
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        help="local, ray, slurm, print (the commands), one of an installed package, or a YAML "
        "file with its options.",
    ),
]
SlotsOption = Annotated[
    int | None,
    typer.Option(
        "--slots", min=1, help="Stages at a time. Default: the GPUs' slots, or one per CPU core."
    ),
]
GpusOption = Annotated[
    str | None, typer.Option("--gpus", metavar="0,1", help="Only these GPUs. Default: all.")
]
SlotsPerGpuOption = Annotated[
    int | None,
    typer.Option("--slots-per-gpu", min=1, help="Stages that share a GPU. Default: 1."),
]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="Of a Ray cluster. Default: auto.")
]
PartitionOption = Annotated[str | None, typer.Option("--partition", help="Of a Slurm cluster.")]
RunDeviceOption = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N. Default: auto.")
]
AttemptsOption = Annotated[
    int,
    typer.Option(
        "--attempts",
        min=1,
        help="How often a stage is tried in this run, with growing waits between.",
    ),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="FILE_OR_URL",
        help="Where studies are kept: a journal file (one machine), or a database such as "
        "postgresql://USER@HOST/NAME (several). Default: tuning/studies.journal in --out.",
    ),
]
TimeLimitOption = Annotated[
    float | None,
    typer.Option(
        "--time-limit",
        min=0,
        metavar="MINUTES",
        help="Of one attempt at a stage for which the suite says nothing else.",
    ),
]
TrackingOption = Annotated[
    bool, typer.Option("--tracking/--no-tracking", help="Mirror the run to Weights & Biases.")
]
TableOption = Annotated[
    bool, typer.Option("--table/--no-table", help="End with the results table.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]

OUT = Path("runs")
DATA_ROOT = Path("data")


def load_plan(
    suite: str,
    out: Path = OUT,
    data_root: Path = DATA_ROOT,
    budget: str | None = None,
    methods: str | None = None,
    data: str | None = None,
    seeds: str | None = None,
    time_limit: float | None = None,
) -> Plan:
    """Return the plan that the options ask for.

    Args:
        suite: Name or file of the suite.
        out: The results folder.
        data_root: Where prepared data sets lie.
        budget: Instead of the suite's own.
        methods: Names of methods, separated by commas.
        data: Names of data sets, likewise.
        seeds: Numbers, likewise.
        time_limit: Minutes for stages that have no limit of their own.

    Raises:
        ImBenchError: If the suite is wrong or a name or number is not known.
    """
    from im_bench.planning.loading import suite_path
    from im_bench.planning.plan import make_plan

    return make_plan(
        suite_path(suite),
        out,
        data_root,
        budget=known_budget(budget),
        methods=listed("--methods", methods, str),
        data=listed("--data", data, str),
        seeds=listed("--seeds", seeds, read_seed),
        minutes=time_limit,
    )


def load_engine(
    engine: str,
    slots: int | None = None,
    gpus: str | None = None,
    slots_per_gpu: int | None = None,
    address: str | None = None,
    partition: str | None = None,
    device: str | None = None,
) -> EngineOptions:
    """Return the engine's options, of its name or file and of the command line.

    Raises:
        ImBenchError: There is no such engine, or it has no such option.
    """
    from im_bench.runner.engines.choice import engine_options

    given = {
        "slots": slots,
        "gpus": listed("--gpus", gpus, str),
        "slots_per_gpu": slots_per_gpu,
        "address": address,
        "partition": partition,
        "device": device,
    }
    return engine_options(engine, given)


def listed(option: str, text: str | None, read: Callable[[str], Value]) -> list[Value] | None:
    """Return the values of a comma-separated option, or None where it was not given.

    Raises:
        ImBenchError: If there is none, one that cannot be read, or one twice.
    """
    if text is None:
        return None
    words = [word for part in text.split(",") if (word := part.strip())]
    try:
        values = [read(word) for word in words]
    except ValueError as error:
        raise ImBenchError(f"{option} {text}: {error}") from None
    if not values or len(set(values)) < len(values):
        raise ImBenchError(f"{option} {text!r}: give at least one, and none twice")
    return values


def known_budget(name: str | None) -> BudgetName | None:
    """Return a budget by its name, or None where none was given.

    Raises:
        ImBenchError: There is no such budget.
    """
    from im_bench.suites.schema import BudgetName

    budgets: dict[str, BudgetName] = {known: known for known in get_args(BudgetName)}
    if name is not None and name not in budgets:
        raise unknown_name("budget", name, budgets)
    return budgets[name] if name else None


def read_seed(word: str) -> int:
    """Return the number that a word of --seeds is.

    Raises:
        ValueError: It is none.
    """
    if not word.isdecimal():
        raise ValueError(f"{word!r} is not a whole number from 0")
    return int(word)
