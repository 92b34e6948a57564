"""Runs a plan: every stage once all that it needs is done, whatever else fails."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from enum import Enum

from im_bench.errors import ImBenchError
from im_bench.runner.attempt import INTERRUPTED
from im_bench.runner.engine import Ended, Engine
from im_bench.runner.events import Event, Happening, Summary
from im_bench.runner.failures import explain, explain_exit
from im_bench.runner.folder import StageFolder, Status
from im_bench.runner.interrupt import StopRequest
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage
from im_bench.suites.plan import Plan

#: Seconds between looks at what other runners do.
POLL_SECONDS = 0.5


class Policy(str, Enum):
    """What to do with what exists."""

    ONLY_MISSING = "only-missing"
    RETRY_FAILED = "retry-failed"
    ALWAYS = "always"
    NEVER = "never"


def run_plan(
    plan: Plan,
    store: Store,
    engine: Engine,
    policy: Policy = Policy.ONLY_MISSING,
    on_event: Callable[[Event], None] = lambda event: None,
    stop: StopRequest | None = None,
    grace: float = 20.0,
) -> Summary:
    """Run what a plan needs and has not.

    Ready stages with the longest chain of others behind them go first, among these the ones that
    most cells share. A stage that another living process runs is waited for. A failed one takes
    with it only those that need it.

    Args:
        plan: What is wanted.
        store: Where it lies.
        engine: What runs it.
        policy: What to do with what exists. ``always`` first discards all results of the plan, so
            that an interrupted run is continued by ``only-missing``.
        on_event: Told of everything, in order, in this thread.
        stop: Asked all the time whether to end.
        grace: Seconds that running stages have to reach a safe point before they are killed.

    Raises:
        ImBenchError: If nothing can run: no cell has its data, the results folder cannot be
            written, or it holds other stages under the plan's names.
    """
    stages = wanted_stages(plan)
    refused = {cell.name: cell.problem for cell in plan.cells if cell.problem}
    summary = Summary(total=len(stages), refused=refused)
    if policy is Policy.NEVER:
        summary.present = sum(store.status(stage) is Status.DONE for stage in stages)
        return summary
    store.make()
    for stage in stages:
        store.check(stage, plan.graph)
        if policy is Policy.ALWAYS:
            store.folder(stage).discard()
    retry = policy is not Policy.ONLY_MISSING
    run = _Run(plan, store, engine, retry, on_event, summary)
    run.begin(stages)
    run.loop(stop or StopRequest(), grace)
    return summary


def wanted_stages(plan: Plan) -> list[Stage]:
    """Return the stages of all cells that have their data.

    Raises:
        ImBenchError: If no cell has; it says what is missing.
    """
    runnable = [cell for cell in plan.cells if not cell.problem]
    if not runnable:
        problems = dict.fromkeys(cell.problem for cell in plan.cells)
        raise ImBenchError("; ".join(problems) or "the plan has no cells")
    return plan.closure([key for cell in runnable for key in cell.finals.values()])


class _Run:
    """The state of a plan while it runs."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        engine: Engine,
        retry: bool,
        on_event: Callable[[Event], None],
        summary: Summary,
    ) -> None:
        self.graph = plan.graph
        self.uses = plan.uses()
        self.store = store
        self.engine = engine
        self.retry = retry
        self.on_event = on_event
        self.summary = summary
        self.missing: dict[str, set[str]] = {}  # what each waiting stage still lacks
        self.dependants: dict[str, list[str]] = {}
        self.rank: dict[str, tuple[int, int, int]] = {}
        self.ready: list[tuple[tuple[int, int, int], str]] = []
        self.begun: dict[StageFolder, tuple[Stage, int]] = {}  # with the number of errors before
        self.elsewhere: dict[StageFolder, tuple[Stage, int]] = {}

    def begin(self, stages: list[Stage]) -> None:
        """Find out what is needed, and queue what can start."""
        needed = self._needed(stages)
        for stage in stages:
            if stage.key not in needed:
                self.summary.present += 1
                self._tell(Happening.PRESENT, stage)
        self.dependants = {key: [] for key in needed}
        for key in needed:
            self.missing[key] = {k for k in self.graph[key].requires if k in needed}
            for required in self.missing[key]:
                self.dependants[required].append(key)
        height: dict[str, int] = {}
        # The graph's order is topological, so from its end all dependants are known.
        for index, key in reversed(list(enumerate(needed))):
            height[key] = 1 + max((height[k] for k in self.dependants[key]), default=0)
            self.rank[key] = (-height[key], -self.uses[key], index)
        for key in needed:
            self._warn_of_damage(key)
            folder = self.store.folder(self.graph[key])
            if not self.retry and folder.status is Status.FAILED:
                before = folder.errors()[-1]["message"]
                self._failed(
                    key, f"{before} (in an earlier run; --policy retry-failed tries again)"
                )
        for key in needed:
            if key in self.missing and not self.missing[key]:
                self._queue(key)

    def loop(self, stop: StopRequest, grace: float) -> None:
        """Start, wait and record until nothing is left, or the user wants to stop."""
        try:
            while not stop.requested:
                self._start_ready()
                self._look_elsewhere()
                if not (self.engine.busy or self.elsewhere or self.ready):
                    return
                if self.engine.busy:
                    for ended in self.engine.wait(POLL_SECONDS):
                        self._ended(ended)
                else:
                    time.sleep(POLL_SECONDS / 5)
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

    def _needed(self, stages: list[Stage]) -> dict[str, None]:
        """Return the keys that must be made, in order: what is done needs nothing any more."""
        needed: set[str] = set()
        required = {key for stage in stages for key in stage.requires}
        waiting = [stage.key for stage in stages if stage.key not in required]
        seen = set[str]()
        while waiting:
            key = waiting.pop()
            if key in seen:
                continue
            seen.add(key)
            if self.store.status(self.graph[key]) is not Status.DONE:
                needed.add(key)
                waiting += self.graph[key].requires
        return {stage.key: None for stage in self.graph if stage.key in needed}

    def _queue(self, key: str) -> None:
        heapq.heappush(self.ready, (self.rank[key], key))

    def _start_ready(self) -> None:
        while self.ready and self.engine.free:
            _, key = heapq.heappop(self.ready)
            stage = self.graph[key]
            folder = self.store.folder(stage)
            status = folder.status
            if status is Status.DONE:
                self._done(key)
                continue
            errors = len(folder.errors())
            if status is Status.RUNNING:
                self.elsewhere[folder] = (stage, errors)
                self._tell(Happening.ELSEWHERE, stage, "another process runs it")
                continue
            try:
                self.store.prepare(stage, self.graph)
                self.engine.start(folder)
            except (ImBenchError, OSError, EOFError) as error:
                self._failed(key, explain(error, folder.path))
                continue
            self.begun[folder] = (stage, errors)
            self._tell(Happening.STARTED, stage)

    def _ended(self, ended: Ended, asked: bool = False) -> None:
        """Find out from the folder how a stage ended."""
        folder = ended.folder
        stage, errors_before = self.begun.pop(folder)
        errors = folder.errors()
        if folder.result() is not None:
            self._done(stage.key)
        elif len(errors) > errors_before:
            self._failed(stage.key, errors[-1]["message"])
        elif asked:
            self._tell(Happening.INTERRUPTED, stage)
        elif folder.status is Status.RUNNING or ended.code == INTERRUPTED:
            # Somebody else was faster, or stopped it: what becomes of it will be seen.
            self.elsewhere[folder] = (stage, errors_before)
        else:
            sentence = explain_exit(ended.code, folder.path)
            try:
                folder.record_death(sentence)
            except OSError as error:
                sentence += f" (not recorded: {error.strerror})"
            self._failed(stage.key, sentence)

    def _look_elsewhere(self) -> None:
        for folder, (stage, errors_before) in list(self.elsewhere.items()):
            if folder.status is Status.RUNNING:
                continue
            del self.elsewhere[folder]
            errors = folder.errors()
            if folder.status is not Status.DONE and len(errors) > errors_before:
                self._failed(stage.key, errors[-1]["message"])
            else:
                self._queue(stage.key)

    def _done(self, key: str) -> None:
        stage = self.graph[key]
        del self.missing[key]
        self.summary.done.append(stage.slug)
        self._tell(Happening.DONE, stage)
        for dependant in self.dependants[key]:
            if dependant in self.missing:
                self.missing[dependant].discard(key)
                if not self.missing[dependant]:
                    self._queue(dependant)

    def _failed(self, key: str, sentence: str) -> None:
        stage = self.graph[key]
        if self.missing.pop(key, None) is None:
            return
        self.summary.failed[stage.slug] = sentence
        self._tell(Happening.FAILED, stage, sentence)
        waiting = list(self.dependants[key])
        while waiting:
            other = waiting.pop()
            if self.missing.pop(other, None) is None:
                continue
            waiting += self.dependants[other]
            reason = f"needs {stage.slug}, which failed"
            self.summary.skipped[self.graph[other].slug] = reason
            self._tell(Happening.SKIPPED, self.graph[other], reason)

    def _warn_of_damage(self, key: str) -> None:
        stage = self.graph[key]
        if damage := self.store.folder(stage).damage:
            self._tell(Happening.WARNING, stage, damage)

    def _tell(self, what: Happening, stage: Stage, detail: str = "") -> None:
        self.on_event(Event(what, stage, detail))
