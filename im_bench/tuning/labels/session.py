"""One session of a search on cached predictions: teachers, their predictions, then trials."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from im_bench.errors import ImBenchError
from im_bench.planning.plan import data_stage
from im_bench.runner.events import Event
from im_bench.runner.interrupt import stop_on_signals
from im_bench.runner.locks import Lock, LockedError
from im_bench.runner.store import Store
from im_bench.suites.experiment import Experiment
from im_bench.suites.graph import Graph
from im_bench.tuning.labels.declaration import predict_stage
from im_bench.tuning.session import Choices, Task, define, prepare_data, run_stages
from im_bench.tuning.storage import StudyStorage
from im_bench.tuning.study import open_study
from im_bench.tuning.suite_file import study_folder

if TYPE_CHECKING:
    from optuna.study import Study

    from im_bench.runner.engines.options import EngineOptions


def run_label_search(
    task: Task,
    choices: Choices,
    storage: StudyStorage,
    options: EngineOptions,
    *,
    attempts: int = 2,
    min_coverage: float | None = None,
    device: str = "auto",
    on_event: Callable[[Event], None] = lambda event: None,
    on_batch: Callable[[int, int], None] = lambda done, trials: None,
) -> Study | None:
    """Score how pseudo-labels are made until a study has so many trials; None if stopped before.

    Args:
        task: What is searched; of one data set and one seed.
        choices: How many trials, and the study's name.
        storage: Where the study is kept.
        options: Of the engine on which teachers are trained.
        attempts: How often a stage is tried.
        min_coverage: What must be kept at least, in 0..1.
        device: On which pixels are counted, in this process.
        on_event: Told of what happens to stages.
        on_batch: Told how many trials are done, and of how many.

    Raises:
        ImBenchError: The method has nothing to search so, a teacher cannot be trained, or another
            process works on the study.
    """
    from im_bench.tuning.labels.search import SAMPLER, tune_labels

    if len(task.data) != 1 or len(task.seeds) != 1:
        raise ImBenchError(
            "pseudo-labels are scored on one data set and seed at a time: name one with --data, "
            "and at most one with --seeds"
        )
    (data,), (seed,) = task.data, task.seeds
    plan = replace(task.plan, cells=[], graph=Graph())
    packed, _ = data_stage(plan, data, task.out, task.data_root)
    experiment = Experiment(
        plan.graph, plan.suite, plan.budget, data, packed, plan.suite.data[data], seed
    )
    predictions = predict_stage(task.name, task.method, experiment, task.space)
    store = Store(task.out)
    store.make()
    with stop_on_signals() as stop, closing(options.make(task.out)) as engine:
        metric = prepare_data(task, store, engine, stop, attempts)
        if metric is None or not run_stages(
            plan, [predictions.key], store, engine, stop, attempts, on_event
        ):
            return None
    chosen = replace(choices, sampler=SAMPLER, pruner="none")
    definition = replace(define(task, chosen, metric, "pseudo-labels"), min_coverage=min_coverage)
    study = open_study(
        storage,
        definition,
        ["maximize", "maximize"],
        choices.study,
        task.space.defaults(task.method),
    )
    folder = study_folder(task.out, study.study_name)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with Lock(folder / "lock"):
            tune_labels(
                study,
                task.space,
                store.folder(packed).path / "arrays",
                store.folder(predictions).path,
                task.method.label_fields(),
                choices.trials,
                device,
                on_batch,
                choices.sampler_seed,
                min_coverage or 0.0,
            )
    except LockedError as error:
        raise ImBenchError(
            f"study {study.study_name!r} is being searched by another process ({error}): wait for "
            "it, or give another --study"
        ) from None
    return study
