"""How long an attempt may take: first it is asked to stop, then it is stopped."""

from __future__ import annotations

import faulthandler
import os
import threading
from collections.abc import Callable
from types import TracebackType

from typing_extensions import Self

#: Between the last resort in Python and the one that works when Python itself hangs.
LAST_SECONDS = 5.0


class TimeLimit:
    """A limit on the time of a block.

    At the limit, ``stop`` is set. A grace period later ``on_overrun`` is called and the process
    ends with ``status``. If even that is impossible, because native code never returns to Python,
    the process writes all its tracebacks to standard error and ends with status 1.

    Args:
        seconds: The limit, or None for none.
        grace: Seconds after it until the process ends.
        stop: What the block is asked by.
        on_overrun: Called from another thread just before the process ends.
        status: Exit status then.
    """

    def __init__(
        self,
        seconds: float | None,
        grace: float,
        stop: threading.Event,
        on_overrun: Callable[[], None],
        status: int,
    ) -> None:
        self.passed = False
        self._seconds = seconds
        self._grace = grace
        self._stop = stop
        self._on_overrun = on_overrun
        self._status = status
        self._timers: list[threading.Timer] = []

    def __enter__(self) -> Self:
        if self._seconds is not None:
            self._timers = [
                threading.Timer(self._seconds, self._ask),
                threading.Timer(self._seconds + self._grace, self._end),
            ]
            for timer in self._timers:
                timer.daemon = True
                timer.start()
            last = self._seconds + self._grace + LAST_SECONDS
            faulthandler.dump_traceback_later(last, exit=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for timer in self._timers:
            timer.cancel()
        if self._timers:
            faulthandler.cancel_dump_traceback_later()

    def _ask(self) -> None:
        self.passed = True
        self._stop.set()

    def _end(self) -> None:
        try:
            self._on_overrun()
        finally:
            os._exit(self._status)
