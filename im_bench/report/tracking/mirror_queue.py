"""Which stages the mirror looks at: those that run, then what earlier runs left unsent."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from im_bench.report.tracking.cards import StageCard
from im_bench.report.tracking.runs import StageMirror
from im_bench.report.tracking.tracker import Tracker

MOST_OPEN = 8
#: Failures in a row after which W&B counts as broken.
MOST_FAILURES = 3

#: Events of stages that run, here or elsewhere.
RUNNING = ("started", "elsewhere")

logger = logging.getLogger(__name__)


class StageQueue:
    """The stages that are to be sent, in the order in which they are looked at.

    Args:
        stages: The folder of all stages.
        tracker: Starts runs.
        checkpoints: Whether to log the network of each training.
        sent: The list of runs that W&B has in full.

    Attributes:
        failures: Stages that could not be sent.
    """

    def __init__(self, stages: Path, tracker: Tracker, checkpoints: bool, sent: Path) -> None:
        self.failures = 0
        self._stages = stages
        self._tracker = tracker
        self._checkpoints = checkpoints
        self._sent = sent
        self._watched: dict[str, StageMirror] = {}
        self._turns: deque[str] = deque()  # the watched ones, the next one first
        self._live: set[str] = set()  # those of which the runner says that they run
        self._left: deque[dict[str, Any]] = deque()
        self._in_a_row = 0

    def note(self, message: dict[str, Any]) -> None:
        """Take note of an event: what has just happened to a stage is looked at first."""
        if "card" not in message:
            return
        if message["what"] == "present":
            self._left.append(message["card"])
            return
        identity = self._watch(message["card"])
        # A stage that was just started says so itself only when its process is up.
        (self._live.add if message["what"] in RUNNING else self._live.discard)(identity)
        if identity in self._turns:
            self._turns.remove(identity)
        self._turns.appendleft(identity)

    def look(self, most: int | None, enough: Callable[[], bool]) -> int:
        """Send what is new of each stage that runs, or has just ended.

        Args:
            most: Number of looks, each at one stage; without limit if None.
            enough: Asked before each look; whether to leave the rest for another time.

        Returns:
            The looks that were not needed.

        Raises:
            Exception: Whatever W&B raises, when it fails again and again.
        """
        turns = len(self._turns) if most is None else min(most, len(self._turns))
        for _ in range(turns):
            if enough():
                return 0
            self._look_at(self._turns.popleft())
        return 0 if most is None else most - turns

    def look_back(self, most: int | None, enough: Callable[[], bool]) -> None:
        """Send what earlier runs have left, see :meth:`look`."""
        for _ in range(len(self._left) if most is None else min(most, len(self._left))):
            if enough():
                return
            self._look_at(self._watch(self._left.popleft()))

    def close(self) -> None:
        """Close all runs that are open."""
        for one in self._watched.values():
            one.close()

    def _watch(self, fields: dict[str, Any]) -> str:
        card = StageCard(**{**fields, "tags": tuple(fields["tags"])})
        if card.id not in self._watched:
            one = StageMirror(card, self._stages, self._tracker, self._checkpoints)
            self._watched[card.id] = one
        return card.id

    def _look_at(self, identity: str) -> None:
        one = self._watched[identity]
        try:
            one.update(may_open=sum(other.is_open for other in self._watched.values()) < MOST_OPEN)
        except Exception:
            logger.exception("%s could not be mirrored", one.card.slug)
            del self._watched[identity]
            self.failures += 1
            self._in_a_row += 1
            if self._in_a_row == MOST_FAILURES:
                raise
            return
        self._in_a_row = 0
        if one.finished:
            with self._sent.open("a", encoding="utf-8") as file:
                file.write(f"{identity}\n")
        if one.is_over and identity not in self._live:
            del self._watched[identity]
        elif identity not in self._turns:
            self._turns.append(identity)
