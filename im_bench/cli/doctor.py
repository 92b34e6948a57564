"""``im-bench doctor``: whether this machine is fit for a suite, and what mends what is not."""

from __future__ import annotations

import shlex
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from im_bench.cli.options import DATA_ROOT, OUT, DataRootOption, OutOption, load_plan
from im_bench.errors import ImBenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from im_bench.planning.plan import Plan
    from im_bench.runner.doctor import Finding
    from im_bench.terminal import Console

_STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(
    data_root: DataRootOption = DATA_ROOT,
    out: OutOption = OUT,
    suite: Annotated[
        str | None, typer.Option("--suite", help="Also look for the data sets of this suite.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine", help="local, ray, slurm or another: what it lacks is a problem then."
        ),
    ] = "local",
) -> None:
    """Check Python, libraries, GPU, disk, limits, data sets, Weights & Biases and engines.

    What is not well comes with the command that mends it. Exit status: 0 well or nothing but
    warnings, 1 a problem, 2 wrong input.

    Examples: im-bench doctor

    im-bench doctor --suite cityscapes --data-root /data --out /scratch/runs --engine slurm
    """
    from im_bench.runner.engines.choice import engine_kind
    from im_bench.terminal import Console

    if not engine_kind(engine).runs:
        raise ImBenchError(f"the engine {engine!r} runs nothing: choose one that does")
    plan = load_plan(suite, out, data_root) if suite else None
    console = Console()
    counts = Counter[str]()
    for finding in _findings(plan, data_root, out, engine):
        counts[finding.level.value] += 1
        _print(finding, console)
    bad = [
        f"{n} {name}{'s' if n > 1 else ''}"
        for name in ("problem", "warning")
        if (n := counts[name])
    ]
    console.print(", ".join(bad) or "all is well", style="bold")
    raise typer.Exit(1 if counts["problem"] else 0)


def _findings(plan: Plan | None, data_root: Path, out: Path, engine: str) -> Iterator[Finding]:
    from im_bench.runner import doctor

    with ThreadPoolExecutor() as pool:  # These three take seconds.
        torch, mmseg, wandb = (
            pool.submit(check) for check in (doctor.check_torch, doctor.check_mmseg, check_wandb)
        )
        yield doctor.check_python()
        yield from doctor.check_libraries()
        yield torch.result()
        yield mmseg.result()
        yield from doctor.check_out(out)
        yield doctor.check_open_files()
        yield doctor.check_shared_memory()
        if plan is not None:
            yield from check_data(plan, data_root)
            yield from check_networks(plan)
        yield wandb.result()
        yield from doctor.check_engines(engine)


def check_data(plan: Plan, data_root: Path) -> Iterator[Finding]:
    """See which data sets of a plan are there, and what `run` would refuse of them."""
    from im_bench.planning.preflight import size_problems
    from im_bench.runner.doctor import Finding, Level
    from im_bench.suites.networks import needs_of_networks

    sizes = size_problems(plan)
    of_networks = {
        cell.problem
        for cell in plan.cells
        if cell.problem == "; ".join(needs_of_networks(plan.stages_of(cell)).missing)
    }
    places = {
        name: packed.paths.get("description")
        for name in plan.suite.data
        if (packed := plan.packed(name)) is not None
    }
    for name, spec in plan.suite.data.items():
        if spec.synth is not None:
            yield Finding(Level.OK, f"data set {name}: built in, it is drawn")
            continue
        said_of = (cell.problem for cell in plan.cells if cell.data == name)
        problems = dict.fromkeys(said for said in said_of if said not in of_networks)
        check = f"im-bench data check {shlex.quote(places[name] or '')}"
        for problem in (*problems, *([sizes[name]] if name in sizes else ())):
            said, absent, _ = problem.partition(": run `im-bench data prepare`")
            mend = prepare_command(spec.folder or name, data_root) if absent else ""
            yield Finding(Level.PROBLEM, said, mend or (check if places[name] else ""))
        for warning in plan.warnings.get(name, ()):
            yield Finding(Level.WARNING, f"data set {name}: {warning}", check)
        if not (problems or name in sizes or plan.warnings.get(name)):
            yield Finding(Level.OK, f"data set {name}: {places[name]}")


def check_networks(plan: Plan) -> Iterator[Finding]:
    """See whether what the networks of a plan need is here, and whether own modules load."""
    from im_bench.runner.doctor import Finding, Level, probe
    from im_bench.suites.networks import needs_of_networks

    found = needs_of_networks(plan.graph)
    for problem in found.missing:
        yield Finding(Level.PROBLEM, problem)
    for download in found.downloads:
        yield Finding(Level.WARNING, f"networks: {download}")
    modules = dict.fromkeys(
        module
        for stage in plan.graph
        if stage.kind == "train"
        for network in (stage.config["model"], stage.config.get("twin") or {})
        for module in network.get("custom_imports") or ()
    )
    for module in modules:
        if any(repr(module) in problem for problem in found.missing):
            continue
        answer, error = probe(
            f"import importlib; importlib.import_module({module!r}); answer = {{}}"
        )
        if answer is None:
            yield Finding(Level.PROBLEM, f"custom_imports: {module} cannot be imported: {error}")
        else:
            yield Finding(Level.OK, f"custom_imports: {module}")


def prepare_command(folder: str, data_root: Path) -> str:
    """Return the command after which a data set lies in a folder of the root.

    Args:
        folder: What the suite calls it.
        data_root: Where prepared data sets lie.
    """
    from im_bench.data.prepare.registry import DATA_SETS, find_recipe

    name = Path(folder).parts[0]
    if name not in DATA_SETS:
        return f"im-bench data check {shlex.quote(str(data_root / folder))}"
    recipe = find_recipe(name)
    command = f"im-bench data prepare {recipe.name} --root {shlex.quote(str(data_root))}"
    return command if recipe.downloadable else f"{command} --source FOLDER  # of {recipe.home}"


def check_wandb() -> Finding:
    """See in a process of its own whether runs would reach the server of Weights & Biases."""
    from im_bench.runner.doctor import Finding, Level, install, probe

    answer, error = probe(
        "import wandb; from im_bench.report.tracking.tracker import pick_mode; "
        "answer = {'mode': pick_mode(wandb.setup().settings)}"
    )
    if answer is None:
        return Finding(Level.WARNING, f"Weights & Biases cannot be used: {error}", install())
    text = {
        "online": "online: a key is there",
        "offline": "offline, by wish or because there is no key or no way to its server; runs are "
        "kept in --out",
        "disabled": "disabled by WANDB_MODE",
    }[answer["mode"]]
    mend = "wandb login" if answer["mode"] == "offline" else ""
    return Finding(Level.OK, f"Weights & Biases: {text}", mend)


def _print(finding: Finding, console: Console) -> None:
    from rich.text import Text

    level = finding.level.value
    console.print(Text.assemble((f"{level:9}", _STYLES[level]), finding.text))
    if finding.mend:  # On one line, so that it can be copied.
        console.print(f"{'':9}{finding.mend}")
