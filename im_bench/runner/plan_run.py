"""A plan while it runs: what is missing, what is ready, what runs, and what has become of it."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from im_bench.errors import ImBenchError
from im_bench.planning.plan import Plan
from im_bench.runner.attempt import INTERRUPTED
from im_bench.runner.engines.base import Ended, Engine, Task
from im_bench.runner.events import Event, EventKind, Summary
from im_bench.runner.failures import Cause, Failure, explain, explain_exit, oom_kills
from im_bench.runner.folder import StageFolder, Status
from im_bench.runner.interrupt import StopRequest
from im_bench.runner.queue import ReadyQueue
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage

#: Seconds between looks at whether the user wants to stop.
POLL_SECONDS = 0.5
#: Looks per second at stages that other runners have: what a network folder is spared.
LOOKS_PER_SECOND = 20.0
#: How often the place where a stage runs may be lost, before that counts as its failure.
MOST_LOSSES = 10


@dataclass(frozen=True)
class Retries:
    """How often a stage is tried within one run.

    Attributes:
        attempts: At most so many, where the cause may pass by itself. What lacks memory is tried
            once more alone on its GPU or machine, even if that makes one attempt more.
        pause: Seconds before the second attempt.
        growth: Factor on each further pause.
    """

    attempts: int = 2
    pause: float = 10.0
    growth: float = 3.0

    def wait(self, failures: int) -> float:
        """Return the seconds to wait after so many failures."""
        return self.pause * self.growth ** (failures - 1)


class Guide(Protocol):
    """Changes what a plan's run is after, while it runs: a search that sees how trials go."""

    def __call__(self, run: PlanRun) -> bool:
        """Add or drop stages of the run; called about twice a second, in the run's own thread.

        Returns:
            Whether more may come, so that a run without work waits for it.
        """


def checked(stages: Collection[Stage], plan: Plan, store: Store) -> list[Stage]:
    """Return the stages that have a folder, after comparing what lies there with the plan."""
    existing = store.existing(stages)
    for stage in existing:
        if not store.check(stage, plan.graph):
            store.prepare(stage, plan.graph)  # Those that need a stage that is done read it, too.
    return existing


@dataclass
class _Attempted:
    """What this run has tried with a stage.

    Attributes:
        errors: Recorded errors before the attempt that runs.
        failures: Attempts of this run that failed.
        losses: Attempts of this run whose place was lost.
        alone: Whether the next, or running, attempt has its GPU for itself.
    """

    errors: int = 0
    failures: int = 0
    losses: int = 0
    alone: bool = False


class PlanRun:
    """The state of a plan while it runs. A :class:`Guide` uses `want`, `drop` and `crowded`."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        engine: Engine,
        retry: bool,
        on_event: Callable[[Event], None],
        summary: Summary,
        retries: Retries,
    ) -> None:
        self.plan = plan
        self.graph = plan.graph
        self.store = store
        self.engine = engine
        self.retry = retry
        self.on_event = on_event
        self.summary = summary
        self.retries = retries
        self.missing: dict[str, set[str]] = {}  # what each waiting stage still lacks
        self.dependants: dict[str, dict[str, None]] = {}
        self.rank: dict[str, tuple[int, int, int, int]] = {}
        self.waves = 0
        self.present: set[str] = set()  # what is done, by earlier runs or by this one
        self.ready: ReadyQueue[Task] = ReadyQueue()
        self.stage_in: dict[StageFolder, Stage] = {}  # of the ones below
        self.tried: dict[StageFolder, _Attempted] = {}
        self.running: set[StageFolder] = set()
        self.elsewhere: dict[StageFolder, None] = {}
        self.pausing: list[tuple[float, int, StageFolder]] = []
        self.next_look = 0.0
        self.oom_kills = oom_kills()

    @property
    def crowded(self) -> bool:
        """Whether stages that could start wait for room."""
        return bool(self.ready)

    def want(self, finals: Collection[str]) -> None:
        """Run these stages of the plan's graph, too, with all that they require.

        What was wanted before goes first where there is not room for all.

        Raises:
            ImBenchError: Other stages lie under their names.
        """
        stages = self.plan.closure(finals)
        checked(stages, self.plan, self.store)
        known = {*self.missing, *self.present, *(self.stage_in[one].key for one in self.running)}
        self.summary.total += sum(stage.key not in known for stage in stages)
        self.take_up(stages)

    def drop(self, keys: Collection[str], why: str) -> None:
        """Stop waiting for these stages; what runs of them here stops at a safe point."""
        for key in keys:
            if self.missing.pop(key, None) is None:
                continue
            stage = self.graph[key]
            folder = self.store.folder(stage)
            self.summary.pruned[stage.slug] = why
            if folder in self.running:
                folder.prune(why)
            else:
                self._tell(EventKind.PRUNED, stage, why)
        self.pausing = [one for one in self.pausing if self.stage_in[one[2]].key in self.missing]
        heapq.heapify(self.pausing)

    def take_up(self, stages: list[Stage], uses: Mapping[str, int] | None = None) -> None:
        """Find out what is needed of these stages, and queue what can start.

        Args:
            stages: In the graph's order, with all that they require.
            uses: How many cells need each, by key.
        """
        existing = {stage.key for stage in self.store.existing(stages)}
        needed = self._needed(stages, existing)
        # What runs may have written its result already: it is told when it has ended.
        known = needed.keys() | self.present | self.missing.keys()
        for stage in stages:
            if stage.key not in known:
                self.present.add(stage.key)
                self.summary.present += 1
                self._tell(EventKind.PRESENT, stage)
                if stage.key in existing:
                    self._pass_on(stage)
        new = [key for key in needed if key not in self.missing]
        for key in new:
            self.summary.pruned.pop(self.graph[key].slug, None)
            self.missing[key] = {k for k in self.graph[key].requires if k in needed}
            for required in self.missing[key]:
                self.dependants.setdefault(required, {})[key] = None
        height: dict[str, int] = {}
        # The graph's order is topological, so from its end all dependants are known.
        for index, key in reversed(list(enumerate(new))):
            later = [height[k] for k in self.dependants.get(key, ()) if k in height]
            height[key] = 1 + max(later, default=0)
            self.rank[key] = (self.waves, -height[key], -(uses or {}).get(key, 0), index)
        self.waves += 1
        for key in new:
            if key in existing:
                self._look_back(key)
        for key in new:
            if key in self.missing and not self.missing[key]:
                self._queue(self._folder(key))

    def loop(self, stop: StopRequest, grace: float, guide: Guide | None = None) -> None:
        """Start, wait and record until nothing is left, or the user wants to stop."""
        try:
            while not stop.requested:
                more = guide is not None and guide(self)
                self._resume_paused()
                self._start_ready()
                self._look_elsewhere()
                if self.engine.busy:
                    for ended in self.engine.wait(POLL_SECONDS):
                        self._ended(ended)
                elif self.elsewhere or self.pausing or self.ready or more:
                    time.sleep(POLL_SECONDS / 5)
                else:
                    return
            self.engine.terminate()
            deadline = time.monotonic() + grace
            while self.engine.busy and time.monotonic() < deadline and not stop.urgent:
                for ended in self.engine.wait(POLL_SECONDS / 5):
                    self._ended(ended, asked=True)
        finally:
            self.engine.kill()
            while self.engine.busy:
                for ended in self.engine.wait(POLL_SECONDS):
                    self._ended(ended, asked=True)
            self.summary.interrupted = bool(self.missing)

    def _needed(self, stages: list[Stage], existing: set[str]) -> dict[str, None]:
        """Return the keys that must be made, in order: what is done needs nothing any more."""
        required = {key for stage in stages for key in stage.requires}
        last = [stage.key for stage in stages if stage.key not in required]

        def done(stage: Stage) -> bool:
            return stage.key in existing and self.store.status(stage) is Status.DONE

        return dict.fromkeys(stage.key for stage in self.graph.closure(last, done))

    def _look_back(self, key: str) -> None:
        """Look at what an earlier run left of a stage that is needed."""
        stage = self.graph[key]
        folder = self.store.folder(stage)
        if damage := folder.damage:
            self._tell(EventKind.WARNING, stage, damage)
        if not self.retry and folder.status is Status.FAILED:
            before = _failure(folder.errors()[-1])
            if before.cause is Cause.INPUT:
                return  # Whoever runs again has corrected it, or is told anew.
            self._failed(
                stage, f"{before.message} (in an earlier run; --policy retry-failed tries again)"
            )

    def _folder(self, key: str) -> StageFolder:
        stage = self.graph[key]
        folder = self.store.folder(stage)
        self.stage_in[folder] = stage
        return folder

    def _queue(self, folder: StageFolder) -> None:
        stage = self.stage_in[folder]
        alone = self.tried.setdefault(folder, _Attempted()).alone
        task = Task(folder, stage.needs, alone)
        self.ready.push(self.rank[stage.key], (stage.needs, alone), task)

    def _start_ready(self) -> None:
        while task := self.ready.pop(self._fits, self.engine.reserve):
            self._start(task)

    def _fits(self, task: Task) -> bool:
        try:
            return self.engine.fits(task)
        except ImBenchError:
            return True  # It never will: starting it says why, to the stage that it concerns.

    def _start(self, task: Task) -> None:
        folder = task.folder
        stage, tried = self.stage_in[folder], self.tried[folder]
        if stage.key not in self.missing or folder in self.running:
            return  # It was dropped; or dropped, wanted again, and runs still.
        status = folder.status
        if status is Status.DONE:
            self._done(stage)
            return
        tried.errors = len(folder.errors())
        if status is Status.RUNNING:
            self.elsewhere[folder] = None
            self._tell(EventKind.ELSEWHERE, stage, "another process runs it")
            return
        try:
            self.store.prepare(stage, self.graph)
            self.engine.start(task)
        except (ImBenchError, OSError, EOFError) as error:
            self._judge(folder, explain(error, folder.path))
            return
        self.running.add(folder)
        self._tell(EventKind.STARTED, stage)

    def _ended(self, ended: Ended, asked: bool = False) -> None:
        """Find out from the folder how a stage ended."""
        folder = ended.folder
        stage, tried = self.stage_in[folder], self.tried[folder]
        self.running.discard(folder)
        errors = folder.errors()
        if folder.result() is not None:
            if stage.key not in self.missing:  # It was dropped too late.
                self._tell(EventKind.DONE, stage)
            self._done(stage)
        elif stage.key not in self.missing:
            self._tell(EventKind.PRUNED, stage, self.summary.pruned.get(stage.slug, ""))
        elif len(errors) > tried.errors:
            self._judge(folder, _failure(errors[-1]), asked)
        elif asked:
            self._tell(EventKind.INTERRUPTED, stage)
        elif ended.code is None:
            self._lost(folder, ended.lost)
        elif folder.status is Status.RUNNING or ended.code == INTERRUPTED:
            # Somebody else was faster, or stopped it: what becomes of it will be seen.
            self.elsewhere[folder] = None
        else:
            self._judge(folder, self._record_death(ended))

    def _record_death(self, ended: Ended) -> Failure:
        kills = oom_kills()
        failure = explain_exit(ended.code or 0, ended.folder.path, kills > self.oom_kills)
        self.oom_kills = kills
        try:
            ended.folder.record_death(failure)
        except OSError as error:
            return Failure(failure.cause, f"{failure.message} (not recorded: {error.strerror})")
        return failure

    def _lost(self, folder: StageFolder, why: str) -> None:
        """Run a stage elsewhere whose place was lost, as soon as its lock says that it is over."""
        stage, tried = self.stage_in[folder], self.tried[folder]
        tried.losses += 1
        if tried.losses > MOST_LOSSES:
            self._failed(stage, f"{why}, {tried.losses} times: see what ends it there")
            return
        self._tell(EventKind.LOST, stage, why)
        self.elsewhere[folder] = None

    def _judge(self, folder: StageFolder, failure: Failure, asked: bool = False) -> None:
        """Try a stage again where that may help, or give it up."""
        stage, tried = self.stage_in[folder], self.tried[folder]
        tried.failures += 1
        crowded = failure.cause is Cause.MEMORY and not tried.alone
        again = crowded or (failure.cause.may_pass and tried.failures < self.retries.attempts)
        if asked or not again:
            if failure.cause is Cause.INPUT:
                self.summary.to_correct.add(stage.slug)
            self._failed(stage, failure.message)
            return
        tried.alone = tried.alone or crowded
        wait = self.retries.wait(tried.failures)
        heapq.heappush(self.pausing, (time.monotonic() + wait, id(folder), folder))
        how = f"tried again in {wait:.0f} s{', alone' if tried.alone else ''}"
        self._tell(EventKind.RETRYING, stage, f"{failure.message} ({how})")

    def _resume_paused(self) -> None:
        while self.pausing and self.pausing[0][0] <= time.monotonic():
            self._queue(heapq.heappop(self.pausing)[2])

    def _look_elsewhere(self) -> None:
        """Look, not too often, at the stages that other runners have."""
        now = time.monotonic()
        if now < self.next_look:
            return
        self.next_look = now + max(POLL_SECONDS, len(self.elsewhere) / LOOKS_PER_SECOND)
        for folder in list(self.elsewhere):
            if self.stage_in[folder].key not in self.missing:
                del self.elsewhere[folder]
                continue
            status = folder.status
            if status is Status.RUNNING:
                continue
            del self.elsewhere[folder]
            errors = folder.errors()
            if status is not Status.DONE and len(errors) > self.tried[folder].errors:
                self._judge(folder, _failure(errors[-1]))
            else:
                self._queue(folder)

    def _done(self, stage: Stage) -> None:
        if self.missing.pop(stage.key, None) is None:
            return
        self.present.add(stage.key)
        self.summary.done.append(stage.slug)
        self._tell(EventKind.DONE, stage)
        self._pass_on(stage)
        for dependant in self.dependants.get(stage.key, ()):
            if dependant in self.missing:
                self.missing[dependant].discard(stage.key)
                if not self.missing[dependant]:
                    self._queue(self._folder(dependant))

    def _pass_on(self, stage: Stage) -> None:
        """Tell what a stage that needs no other has found doubtful."""
        result = None if stage.inputs else self.store.result(stage)
        for sentence in result["outcome"].get("warnings", ()) if result else ():
            self._tell(EventKind.WARNING, stage, sentence)

    def _failed(self, stage: Stage, sentence: str) -> None:
        if self.missing.pop(stage.key, None) is None:
            return
        self.summary.failed[stage.slug] = sentence
        self._tell(EventKind.FAILED, stage, sentence)
        waiting = list(self.dependants.get(stage.key, ()))
        while waiting:
            other = waiting.pop()
            if self.missing.pop(other, None) is None:
                continue
            waiting += self.dependants.get(other, ())
            reason = f"needs {stage.slug}, which failed"
            self.summary.skipped[self.graph[other].slug] = reason
            self._tell(EventKind.SKIPPED, self.graph[other], reason)

    def _tell(self, what: EventKind, stage: Stage, detail: str = "") -> None:
        self.on_event(Event(what, stage, detail))


def _failure(error: dict[str, object]) -> Failure:
    """Return what a recorded error says, of whatever version of im-bench."""
    known = {cause.value: cause for cause in Cause}
    return Failure(known.get(str(error.get("cause")), Cause.ERROR), str(error["message"]))
