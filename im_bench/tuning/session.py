"""One session of a search: from a suite's method to trials that run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from im_bench.errors import ImBenchError, unknown_name
from im_bench.evaluation.registry import higher_is_better
from im_bench.planning.loading import load_suite
from im_bench.planning.plan import Cell, Plan, plan_cells
from im_bench.runner.events import Event, Summary
from im_bench.runner.interrupt import StopRequest, stop_on_signals
from im_bench.runner.plan_run import PlanRun, Retries
from im_bench.runner.scheduler import Policy, run_plan
from im_bench.runner.store import Store
from im_bench.schedules.base import Schedule
from im_bench.suites.graph import Graph
from im_bench.suites.schema import BudgetName, DataSpec, Suite
from im_bench.suites.seeds import seed_of
from im_bench.tuning.choosing import make_pruner, make_sampler
from im_bench.tuning.labels.declaration import label_space
from im_bench.tuning.search import Search
from im_bench.tuning.space import Space, declared_space, load_space
from im_bench.tuning.storage import StudyStorage, outages_pass
from im_bench.tuning.study import (
    Definition,
    Objective,
    check_name,
    fields_of,
    open_study,
    protocol_of,
    records_of,
)
from im_bench.tuning.suite_file import write_trials

if TYPE_CHECKING:
    from optuna.study import Study
    from rich.console import Console

    from im_bench.runner.engines.base import Engine
    from im_bench.runner.engines.options import EngineOptions

#: Where the seeds of searches begin, so that they are none that a suite reports.
FIRST_SEED = 1001


class Mirror(Protocol):
    """What follows a run: :class:`im_bench.report.tracking.mirror.Mirror`."""

    def __call__(self, event: Event) -> None:
        """Take note of an event."""

    def extend(self, cells: list[Cell], total: int) -> None:
        """Take note of cells that a search has added."""


Mirrored = Callable[[Plan, str], AbstractContextManager[Mirror]]
"""Opens a mirror of a plan, under the name of a group."""


@dataclass(frozen=True)
class Task:
    """What is to be tuned, on what.

    Attributes:
        plan: Without cells; its suite scores validation images of the chosen data sets.
        name: The method's name in the suite.
        method: The method.
        space: What is searched.
        seeds: Repetitions whose scores are averaged.
        data_root: Where prepared data sets lie.
        out: The results folder.
        hold_out: Share of the labelled images that are scored instead of the validation images.
    """

    plan: Plan
    name: str
    method: Schedule
    space: Space
    seeds: tuple[int, ...]
    data_root: Path
    out: Path
    hold_out: float | None = None

    @property
    def data(self) -> tuple[str, ...]:
        """The chosen data sets."""
        return tuple(self.plan.suite.data)

    def add_cells(self, methods: Mapping[str, Schedule]) -> list[Cell]:
        """Add methods to the plan."""
        return plan_cells(self.plan, methods, self.out, self.data_root)


@dataclass(frozen=True)
class Choices:
    """How a search goes about it.

    Attributes:
        trials: In all, of all workers.
        parallel: At a time, of this worker.
        sampler: Name of the sampler.
        pruner: Name of the pruner.
        study: The study's name, or None for one that its definition gives.
        sampler_seed: Of the sampler's choices.
    """

    trials: int = 40
    parallel: int = 8
    sampler: str = "tpe"
    pruner: str = "median"
    study: str | None = None
    sampler_seed: int = 0


@dataclass
class Ran:
    """How a session ended.

    Attributes:
        study: What it worked on.
        summary: How the run of the stages ended.
        failures: Numbers of the trials of this session that failed.
        counts: How many trials of the study stand where; none if the storage cannot be reached.
    """

    study: Study
    summary: Summary
    failures: list[int] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """Status for the shell: 0 all well, 1 a trial has failed, 130 interrupted."""
        if self.summary.interrupted:
            return 130
        return 1 if self.failures else 0


def make_task(
    path: Path,
    method: str,
    out: Path,
    data_root: Path,
    *,
    data: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    budget: BudgetName | None = None,
    objective: Objective = "training",
    space: Path | None = None,
    hold_out: float | None = None,
    minutes: float | None = None,
) -> Task:
    """Return what a search is about.

    Args:
        path: The suite's file.
        method: Name of a method of the suite.
        out: The results folder.
        data_root: Where prepared data sets lie.
        data: Names of data sets of the suite; all by default.
        seeds: Repetitions, none of which the suite reports; by default one from 1001 on.
        budget: Instead of the suite's own.
        objective: What trials are scored by.
        space: A file with ranges; by default what the method declares.
        hold_out: Share of the labelled images to score instead of the validation images.
        minutes: Time limit of stages that have none.

    Raises:
        ImBenchError: A name does not exist, a seed is one that is reported, or the space is wrong.
    """
    if hold_out is not None and not 0 < hold_out < 1:
        raise ImBenchError(
            f"--hold-out {hold_out:g}: give a share above 0 and below 1, such as 0.2"
        )
    suite, built = load_suite(path)
    if method not in built:
        raise unknown_name("method in this suite", method, built)
    for name in data or ():
        if name not in suite.data:
            raise unknown_name("data set in this suite", name, suite.data)
    chosen = {n: spec for n, spec in suite.data.items() if data is None or n in data}
    if hold_out is not None:
        chosen = {
            name: spec.model_copy(update={"hold_out": hold_out}) for name, spec in chosen.items()
        }
    own_seeds = tuple(seeds or _free_seeds(suite))
    _refuse_reported(own_seeds, suite)
    searched = suite.model_copy(
        update={"scores": "val", "data": chosen, "seeds": own_seeds, "methods": {}}
    )
    if space is not None:
        ranges = load_space(space, built[method])
    elif objective == "training":
        ranges = declared_space(built[method])
    else:
        ranges = label_space(built[method])
    plan = Plan(searched, path, budget or suite.budget, graph=Graph(minutes))
    return Task(plan, method, built[method], ranges, own_seeds, data_root, out, hold_out)


def _free_seeds(suite: Suite, count: int = 1) -> list[int]:
    free: list[int] = []
    seed = FIRST_SEED
    while len(free) < count:
        if seed not in suite.seeds:
            free.append(seed)
        seed += 1
    return free


def _refuse_reported(seeds: Sequence[int], suite: Suite) -> None:
    reported = sorted(set(seeds) & set(suite.seeds))
    if reported:
        raise ImBenchError(
            f"seed {reported[0]} is one that suite {suite.name!r} reports: what is tuned on it "
            f"would be chosen by its own result; tune on others, such as --seeds {FIRST_SEED}"
        )


def run_search(
    task: Task,
    choices: Choices,
    storage: StudyStorage,
    options: EngineOptions,
    console: Console,
    *,
    attempts: int = 2,
    mirrored: Mirrored | None = None,
) -> Ran:
    """Run a study's trials until its budget is used or the user stops it.

    Args:
        task: What is tuned.
        choices: How it is searched.
        storage: Keeps the study.
        options: Of the engine.
        console: Is told how it goes.
        attempts: Of a stage, at most.
        mirrored: Opens what follows the run, such as Weights & Biases; None: nothing does.

    Raises:
        ImBenchError: Data are missing or would be tested on, another study has this name, or the
            engine is not to be had.
    """
    if choices.study is not None:
        check_name(choices.study)
    sampler = make_sampler(choices.sampler, seed_of("sampler", choices.sampler_seed))
    pruner = make_pruner(
        choices.pruner,
        task.plan.suite.training.validations,
        len(task.seeds) * len(task.data),
    )
    store = Store(task.out)
    store.make()
    with stop_on_signals() as stop, closing(options.make(task.out)) as engine:
        metric = prepare_data(task, store, engine, stop, attempts)
        if metric is None:
            raise KeyboardInterrupt
        definition = define(task, choices, metric)
        study = open_study(
            storage,
            definition,
            ["maximize" if higher_is_better(metric) else "minimize"],
            choices.study,
            task.space.defaults(task.method),
        )
        study.sampler, study.pruner = sampler, pruner
        return _run(task, choices, study, storage, store, engine, stop, console, attempts, mirrored)


def _run(
    task: Task,
    choices: Choices,
    study: Study,
    storage: StudyStorage,
    store: Store,
    engine: Engine,
    stop: StopRequest,
    console: Console,
    attempts: int,
    mirrored: Mirrored | None,
) -> Ran:
    from im_bench.runner.progress import make_view

    name = study.study_name
    plan = replace(task.plan, suite=task.plan.suite.model_copy(update={"name": name}))
    task = replace(task, plan=plan)
    definition = Definition.read(study)

    def write() -> Path:
        return write_trials(study, plan, task.name, task.out)

    store.remember(write())
    with (
        nullcontext() if mirrored is None else mirrored(plan, name) as mirror,
        make_view(store, 0, console) as view,
    ):

        def say(sentence: str) -> None:
            with outages_pass():
                write()
            console.print(sentence, markup=False, highlight=False, soft_wrap=True)

        def came(cells: list[Cell], total: int) -> None:
            view.board.total = total
            if mirror is not None:
                mirror.extend(cells, total)

        search = Search(
            plan,
            study,
            storage,
            task.space,
            task.method,
            task.name,
            task.add_cells,
            definition.metric,
            choices.trials,
            choices.parallel,
            choices.pruner,
            came,
            say,
        )

        def notify(event: Event) -> None:
            search.note(event)
            view(event)
            if mirror is not None:
                mirror(event)

        # What an earlier session saw fail is tried again: it may be why that session was stopped.
        try:
            summary = run_plan(
                plan,
                store,
                engine,
                Policy.RETRY_FAILED,
                notify,
                stop,
                retries=Retries(attempts),
                guide=search,
            )
        finally:
            search.give_back()
        summary.interrupted = stop.requested
    ran = Ran(study, summary, search.failures)
    with outages_pass():
        write()
        ran.counts = counts_of(study)
    return ran


def define(
    task: Task, choices: Choices, metric: str, objective: Objective = "training"
) -> Definition:
    """Return what identifies the study."""
    return Definition(
        suite=task.plan.suite.name,
        budget=task.plan.budget,
        method=task.name,
        data=task.data,
        seeds=task.seeds,
        objective=objective,
        metric=metric,
        space=task.space.describe(),
        fields=fields_of(task.method),
        protocol=protocol_of(task.plan, task.data),
        sampler=choices.sampler,
        pruner=choices.pruner if objective == "training" else "none",
        hold_out=task.hold_out,
    )


class _Once:
    """A guide that wants some stages and nothing more."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = list(keys)

    def __call__(self, run: PlanRun) -> bool:
        if self._keys:
            run.want(self._keys)
            self._keys = []
        return False


def run_stages(
    plan: Plan,
    keys: Sequence[str],
    store: Store,
    engine: Engine,
    stop: StopRequest,
    attempts: int,
    notify: Callable[[Event], None] = lambda event: None,
) -> bool:
    """Run stages of a plan; return False if the user stopped that.

    Raises:
        ImBenchError: One of them failed.
    """
    summary = run_plan(
        replace(plan, cells=[]),
        store,
        engine,
        Policy.RETRY_FAILED,
        notify,
        stop,
        retries=Retries(attempts),
        guide=_Once(keys),
    )
    for slug, sentence in summary.failed.items():
        raise ImBenchError(f"{slug} failed: {sentence}")
    return not summary.interrupted


def prepare_data(
    task: Task, store: Store, engine: Engine, stop: StopRequest, attempts: int
) -> str | None:
    """Pack the data sets, look at what is scored, and return the metric; None if stopped.

    Raises:
        ImBenchError: Data are missing, validation images are also test images, there are none, or
            the data sets' metrics differ.
    """
    # A plan of its own: in the search's, the trial with the method's own values has its own name.
    plan = replace(task.plan, cells=[], graph=Graph())
    cells = replace(task, plan=plan).add_cells({task.name: task.method})
    for cell in cells:
        if cell.problem:
            raise ImBenchError(cell.problem)
    packed = {
        cell.data: next(s for s in plan.stages_of(cell) if s.kind == "data") for cell in cells
    }
    keys = [stage.key for stage in packed.values()]
    if not run_stages(plan, keys, store, engine, stop, attempts):
        return None
    metrics: dict[str, str] = {}
    for name, stage in packed.items():
        result = store.result(stage)
        if result is None:
            return None
        metrics[name] = result["outcome"]["metric"]
        refuse_test_images(name, store.folder(stage).path / "arrays", task.plan.suite.data[name])
    if len(set(metrics.values())) > 1:
        told = ", ".join(f"{name} {metric}" for name, metric in metrics.items())
        raise ImBenchError(
            f"the data sets have different metrics ({told}), of which there is no mean: tune on "
            "those of one metric together, with --data"
        )
    return next(iter(metrics.values()))


def refuse_test_images(name: str, arrays: Path, spec: DataSpec) -> None:
    """Compare the validation images with the test images, pixel by pixel.

    Raises:
        ImBenchError: One is both, or there is none to score.
    """
    import numpy as np

    def fingerprints(part: str) -> list[bytes]:
        images: Any = np.load(arrays / f"{part}_images.npy", mmap_mode="r", allow_pickle=False)
        return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]

    scored, tested = fingerprints("val"), set(fingerprints("test"))
    if not scored:
        raise ImBenchError(
            f"data set {name!r} has no validation images to score: hold out a share of the "
            "labelled ones with --hold-out 0.2"
        )
    both = sum(one in tested for one in scored)
    if both:
        also = " held-out" if spec.hold_out else ""
        raise ImBenchError(
            f"{both} of the {len(scored)}{also} validation images of data set {name!r} are also "
            "test images, and values are never chosen on test data: hold out a share of the "
            "labelled ones with --hold-out 0.2"
        )


def counts_of(study: Study) -> dict[str, int]:
    """Return how many trials stand where, those of the budget first."""
    found: dict[str, int] = {}
    for record in records_of(study):
        found[record.state.value] = found.get(record.state.value, 0) + 1
    return found
