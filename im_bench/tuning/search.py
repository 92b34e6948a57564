"""The search: asks for values, lets the runner train with them, gives up what falls behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Any

from im_bench.errors import ImBenchError
from im_bench.evaluation.registry import higher_is_better
from im_bench.planning.plan import Cell, Plan
from im_bench.runner.events import Event, EventKind
from im_bench.runner.locks import STALE_SECONDS
from im_bench.runner.plan_run import PlanRun
from im_bench.schedules.base import Schedule
from im_bench.suites.graph import Stage
from im_bench.tuning.space import Space, problem_of
from im_bench.tuning.storage import (
    WORKER,
    StudyStorage,
    is_outage,
    no_warnings,
    origin_of,
    outages_pass,
)
from im_bench.tuning.study import FAILURE, PRUNED_AT, SURPLUS, TrialRecord, TrialState, records_of
from im_bench.tuning.trials import (
    LiveTrial,
    curve_of,
    instances_of,
    trial_name,
    with_params,
)

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import Trial

#: Seconds between looks at the other workers' trials, and between signs of life.
LOOK_SECONDS = 2.0


class Search:
    """Guides a run through the trials of a study.

    Trials run beside each other, as many as ``parallel`` says; the instances of one (data sets
    times seeds) run one after the other, so that their mean so far can be compared with that of
    others after as much work. A step is a validation; each instance has one more, for its score.

    Args:
        plan: Receives the trials' cells. Its suite scores validation images.
        study: The study.
        storage: Where it is kept.
        space: What is searched.
        method: Whose fields they are.
        name: Its name in the suite.
        add_cells: Adds a method's cells to the plan, by the name they are to have.
        metric: What the score is of.
        trials: The budget: trials in all, of all workers.
        parallel: Trials at a time, of this worker.
        pruner: Name of the pruner: ``wilcoxon`` is told of whole instances only.
        on_cells: Told of cells that came to the plan, with the number of stages by then.
        tell: Told in a sentence what became of a trial.

    Attributes:
        failures: Numbers of the trials of this worker that failed.
    """

    def __init__(
        self,
        plan: Plan,
        study: Study,
        storage: StudyStorage,
        space: Space,
        method: Schedule,
        name: str,
        add_cells: Callable[[Mapping[str, Schedule]], list[Cell]],
        metric: str,
        trials: int,
        parallel: int,
        pruner: str = "none",
        on_cells: Callable[[list[Cell], int], None] = lambda cells, total: None,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.plan = plan
        self.study = study
        self.storage = storage
        self.distributions = space.distributions()
        self.method = method
        self.name = name
        self.add_cells = add_cells
        self.metric = metric
        self.higher = higher_is_better(metric)
        self.trials = trials
        self.parallel = parallel
        self.pruner = pruner
        self.on_cells = on_cells
        self.tell = tell
        self.live: dict[int, LiveTrial] = {}
        self.failures: list[int] = []
        self._records: list[TrialRecord] = []
        self._looked = -LOOK_SECONDS
        self._unreachable = False
        self._reached = -STALE_SECONDS

    def __call__(self, run: PlanRun) -> bool:
        """Follow the trials that run, and begin others; return whether any is left."""
        try:
            left = self._turn(run)
        except ImBenchError:
            raise
        except Exception as error:
            if not is_outage(error):
                raise
            if not self._unreachable:
                self.tell(
                    f"the storage of the study cannot be reached ({_first_line(error)}): "
                    "what runs goes on, and its results are told later"
                )
            self._unreachable = True
            return True
        if self._unreachable:
            self.tell("the storage of the study can be reached again")
        self._unreachable = False
        return left

    def give_back(self) -> None:
        """Let the next session, or another worker, go on at once with the trials that ran."""
        with outages_pass():
            self.storage.give_back(self.study, self.live)

    def note(self, event: Event) -> None:
        """Take note of what happened to a stage: trials that need a failed one have failed."""
        if event.what is not EventKind.FAILED:
            return
        for live in self.live.values():
            needed = self.plan.closure([live.current.final])
            if any(stage.key == event.stage.key for stage in needed):
                live.failure = live.failure or f"{event.stage.slug}: {event.detail}"

    def _turn(self, run: PlanRun) -> bool:
        from optuna.exceptions import UpdateFinishedTrialError

        self._look()
        for live in list(self.live.values()):
            try:
                self._follow(live, run)
            except UpdateFinishedTrialError:
                self._leave(live, run)
        while len(self.live) < self.parallel and not run.crowded and self._left():
            if not self._begin(run):
                break
        return bool(self.live) or self._left() or self._others_run()

    def _look(self) -> None:
        """Give a sign of life, and see what others do."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS and not self._unreachable:
            return
        for live in self.live.values():
            self.storage.beat(live.trial._trial_id)
        if self._unreachable:
            self._reached = now
        # After an outage all others look dead: each is given the time to show that it lives.
        if now - self._reached >= STALE_SECONDS or self.storage.database is None:
            for number in self.storage.fail_lost(self.study, self.live):
                self.tell(f"trial {number}: its worker died; its values are tried anew")
        self._records = records_of(self.study)
        self._looked = now

    def _left(self) -> bool:
        """Return whether trials of the budget wait, or have not been asked for."""
        counted = [record for record in self._records if record.counts]
        waiting = any(record.state is TrialState.WAITING for record in counted)
        return waiting or len(counted) < self.trials

    def _others_run(self) -> bool:
        return any(record.state is TrialState.RUNNING for record in self._records)

    def _begin(self, run: PlanRun) -> bool:
        """Ask for a trial and let it run; return False where another worker was faster."""
        from optuna.exceptions import UpdateFinishedTrialError

        with no_warnings():
            trial = self.study.ask(self.distributions)
        try:
            return self._begin_with(trial, run)
        except UpdateFinishedTrialError:
            return False  # Another worker took it for a dead one's.

    def _begin_with(self, trial: Trial, run: PlanRun) -> bool:
        trial.set_user_attr(WORKER, self.storage.worker)
        self.storage.beat(trial._trial_id)
        self._records = records_of(self.study)
        before = sum(record.counts for record in self._records if record.number < trial.number)
        if before >= self.trials:
            trial.set_user_attr(SURPLUS, True)
            self._end(trial.number, "FAIL")
            return False
        if problem := problem_of(self.method, trial.params):
            trial.set_user_attr(PRUNED_AT, f"impossible: {problem}")
            self._end(trial.number, "PRUNED")
            self.tell(f"trial {trial.number}: {_words(trial.params)} are impossible: {problem}")
            return True
        frozen = self.storage.optuna.get_trial(trial._trial_id)
        name = trial_name(self.name, origin_of(frozen))
        try:
            cells = self.add_cells({name: with_params(self.method, self.name, trial.params)})
        except ImBenchError as error:
            trial.set_user_attr(FAILURE, str(error))
            self._end(trial.number, "FAIL")
            self.failures.append(trial.number)
            self.tell(f"trial {trial.number}: failed: {error}")
            return True
        live = LiveTrial(trial, instances_of(self.plan, cells))
        self.live[trial.number] = live
        run.want([live.current.final])
        self.on_cells(cells, run.summary.total)
        self.tell(f"trial {trial.number}: {_words(trial.params)}")
        return True

    def _follow(self, live: LiveTrial, run: PlanRun) -> None:
        """See how far a trial is, and whether it goes on."""
        number = live.trial.number
        if live.failure:
            live.trial.set_user_attr(FAILURE, live.failure)
            self._end(number, "FAIL")
            self.failures.append(number)
            self.tell(f"trial {number}: failed: {live.failure}")
            self._drop(live, run, "its trial has failed")
            return
        result = run.store.result(self.plan.graph[live.current.final])
        if result is None:
            self._report_curve(live, run)
            return
        # Nothing is noted before the storage has it: where that fails, this is gone through again.
        scores = [*live.scores, float(result["outcome"]["val"][self.metric])]
        if len(scores) == len(live.instances):
            self._end(number, "COMPLETE", fmean(scores))
            self.live.pop(number, None)
            self.tell(f"trial {number}: {self.metric} {fmean(scores):.4f}")
        elif not self._report(live, run, len(scores) * self._steps, scores):
            live.scores = scores
            run.want([live.current.final])
            self.on_cells([], run.summary.total)

    @property
    def _steps(self) -> int:
        """Steps of an instance."""
        return 1 if self.pruner == "wilcoxon" else self.plan.suite.training.validations + 1

    def _report_curve(self, live: LiveTrial, run: PlanRun) -> None:
        if self.pruner in ("wilcoxon", "none"):
            return
        begun = len(live.scores) * self._steps
        curve = curve_of(run.store, live.current.pilot, self.metric, self.higher)
        for step, score in enumerate(curve[: self._steps - 1], begun + 1):
            if step > live.reported and self._report(live, run, step, [*live.scores, score]):
                return

    def _report(self, live: LiveTrial, run: PlanRun, step: int, scores: list[float]) -> bool:
        """Report a trial's mean so far, and return whether it was given up."""
        value = fmean(scores)
        with no_warnings():  # It may be there already, see `_follow`.
            # Instance by instance the pruner compares scores of these, not means.
            live.trial.report(scores[-1] if self.pruner == "wilcoxon" else value, step)
        if not live.trial.should_prune():
            live.reported = step
            return False
        where = f"at step {step} of {len(live.instances) * self._steps}, {self.metric} {value:.4f}"
        live.trial.set_user_attr(PRUNED_AT, where)
        self._end(live.trial.number, "PRUNED")
        self.tell(f"trial {live.trial.number}: pruned {where}")
        why = f"trial {live.trial.number} was pruned {where}"
        self._drop(live, run, why)
        for instance in live.instances:
            self._mark(self.plan.graph[instance.final], run, why)
        return True

    def _mark(self, final: Stage, run: PlanRun, why: str) -> None:
        """Let a score that will not be made say so, whether its trainings had begun or not."""
        if run.store.folder(final) not in run.running and run.store.result(final) is None:
            run.store.prepare(final, self.plan.graph).prune(why)

    def _drop(self, live: LiveTrial, run: PlanRun, why: str) -> None:
        """Take a trial's stages out of the run, but for those that other trials need."""
        self.live.pop(live.trial.number, None)
        needed = {
            stage.key
            for other in self.live.values()
            for stage in self.plan.closure([other.current.final])
        }
        own = {stage.key for stage in self.plan.closure([live.current.final])}
        run.drop(own - needed, why)

    def _end(self, number: int, state: str, value: float | None = None) -> None:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState as State

        try:
            self.study.tell(number, value, state=State[state])
        except ValueError as error:
            raise UpdateFinishedTrialError(str(error)) from error
        self._records = records_of(self.study)

    def _leave(self, live: LiveTrial, run: PlanRun) -> None:
        """Leave a trial that is over in the storage.

        This process stood still for so long that another took it over; or the storage broke down
        after it had taken what was told, and before it said so.
        """
        number = live.trial.number
        self._records = records_of(self.study)
        state = next(one.state.value for one in self._records if one.number == number)
        self.tell(f"trial {number}: is {state} already, as the storage has it")
        self._drop(live, run, f"trial {number} was {state} already")


def _words(params: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in params.items()
    )


def _first_line(error: Exception) -> str:
    return (str(getattr(error, "orig", error)).strip().splitlines() or [type(error).__name__])[0]
