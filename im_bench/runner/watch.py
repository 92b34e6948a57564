"""Follows how the stages of a plan stand, with few looks at the results folder."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

from im_bench.planning.plan import Plan
from im_bench.runner.folder import Status
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage

#: Stages that could have been started, looked at in one look: what a network folder is spared.
MOST_LOOKS = 100


class Watch:
    """Knows where each stage of a plan stands, and what has changed.

    The first look reads every folder that exists. From then on only those are looked at that can
    change: running stages, and in turn those for which all they require is done.

    Args:
        plan: What is watched.
        store: Where it lies.
        most: How many stages that could have been started are looked at in one look.

    Attributes:
        known: Where each stage stood at the last look, by key.
    """

    def __init__(self, plan: Plan, store: Store, most: int = MOST_LOOKS) -> None:
        self._plan = plan
        self._store = store
        self._most = most
        self.known = store.statuses(plan.graph)
        self._dependants: dict[str, list[str]] = {key: [] for key in self.known}
        for stage in plan.graph:
            for key in set(stage.requires):
                self._dependants[key].append(stage.key)
        self._lacking = {
            stage.key: sum(self.known[key] is not Status.DONE for key in set(stage.requires))
            for stage in plan.graph
        }
        self._running = [key for key, status in self.known.items() if status is Status.RUNNING]
        self._startable = deque(
            key
            for key, status in self.known.items()
            if not self._lacking[key] and status in (Status.PLANNED, Status.FAILED)
        )

    @property
    def finished(self) -> bool:
        """Whether all cells that have their data are done."""
        finals = (k for cell in self._plan.cells if not cell.problem for k in cell.finals.values())
        return all(self.known[key] is Status.DONE for key in finals)

    @property
    def running(self) -> list[Stage]:
        """The stages that ran at the last look."""
        return [self._plan.graph[key] for key in self._running]

    def counts(self) -> str:
        """Return how many stages stand where, in one line."""
        counts = Counter(self.known.values())
        shown = (one for one in Status if one is not Status.PRUNED or counts[one])
        each = ", ".join(f"{counts[status]} {status.value}" for status in shown)
        return f"{each} of {len(self.known)} stages"

    def look(self) -> list[Stage]:
        """Look again, and return the stages that stand elsewhere now, in the order of finding."""
        changed = []
        due = min(self._most, len(self._startable))
        waiting = [*self._running, *(self._startable.popleft() for _ in range(due))]
        self._running = []
        while waiting:
            changed += self._look_at(waiting)
            # What a stage that is done has made possible may have begun already.
            waiting = [
                key
                for key in dict.fromkeys(k for k in waiting if self.known[k] is Status.DONE)
                for key in self._dependants[key]
                if self._one_less(key)
            ]
        return changed

    def _one_less(self, key: str) -> bool:
        self._lacking[key] -= 1
        return self._lacking[key] == 0 and self.known[key] is not Status.DONE

    def _look_at(self, keys: Iterable[str]) -> list[Stage]:
        changed = []
        stages = [self._plan.graph[key] for key in keys]
        existing = {stage.key for stage in self._store.existing(stages)}
        for stage in stages:
            there = stage.key in existing
            status = self._store.status(stage) if there else Status.PLANNED
            if status is Status.RUNNING:
                self._running.append(stage.key)
            elif status is not Status.DONE:
                self._startable.append(stage.key)
            if status is not self.known[stage.key]:
                self.known[stage.key] = status
                changed.append(stage)
        return changed
