"""The process that mirrors a suite to W&B: ``python -m im_bench.report.tracking.mirror_process``.

The runner tells it through standard input what happens, one JSON object a line. It ends when its
standard input does: the runner holds the other end, so that its death is noticed as well as its
wish.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from im_bench.files import read_json

POLL_SECONDS = 2.0
#: Looks per second at stage folders, whatever the number of stages: what a network is spared.
LOOKS_PER_SECOND = 20.0
#: After the runner has ended: how long to wait for another mirror, and to send what is left.
CATCH_UP_SECONDS = 8.0
NICENESS = 10

logger = logging.getLogger(__name__)

Message = dict[str, Any]


class Inbox:
    """What the runner tells, read by a thread, so that it never waits for a slow server."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self._messages: SimpleQueue[Message] = SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        """Read lines of these kinds.

        ``{"suite": ..., "checkpoints": ...}`` comes first, then some of ``{"rows": [...]}``, later
        ones with a new ``total``, and
        ``{"what": ..., "id": ...}`` for each event, with ``card``, ``slug`` and ``detail``.
        """
        try:
            for line in sys.stdin.buffer:
                self._messages.put(json.loads(line))
        except ValueError:
            logger.error("the runner died amid a line")
        finally:
            self.ended.set()

    def take(self) -> Iterator[Message]:
        """Yield what has come and was not yet taken."""
        while True:
            try:
                yield self._messages.get_nowait()
            except Empty:
                return

    def first(self) -> Message | None:
        """Wait for the first message; return None if there is none."""
        while not self._messages.qsize() and not self.ended.wait(0.05):
            pass
        return next(self.take(), None)


def mirror(out: Path, report: Path, inbox: Inbox, haste: bool = True) -> int:
    """Send what the stages leave until the runner has ended, then what remains, then the tables.

    Args:
        out: The results folder.
        report: JSON file that the runner leaves at the end, with the tables.
        inbox: What the runner tells.
        haste: Whether to leave, at the end, what takes long to another time.

    Returns:
        The number of runs that could not be sent.

    Raises:
        Exception: Whatever W&B raises, when it fails again and again.
    """
    from im_bench.report.tracking.mirror import sent_file
    from im_bench.report.tracking.mirror_queue import StageQueue
    from im_bench.report.tracking.suite_run import SuiteRun
    from im_bench.report.tracking.tracker import Tracker

    tracker = Tracker(out)
    told = inbox.first()
    if tracker.mode == "disabled" or told is None:
        return 0
    suite = SuiteRun(told["suite"], out, tracker)
    sent = sent_file(out, told["checkpoints"])
    stages = StageQueue(out / "stages", tracker, told["checkpoints"], sent)
    broken = False

    def listen() -> None:
        for message in inbox.take():
            suite.note(message)
            stages.note(message)

    def tell_suite(tell: Callable[[], None]) -> None:
        """Its failure, unlike that of several stages in a row, does not end the mirror."""
        nonlocal broken
        try:
            if not broken:
                tell()
        except Exception:
            logger.exception("the suite's own run could not be mirrored")
            broken = True

    ended = False
    while not ended:
        ended = inbox.ended.wait(POLL_SECONDS)
        listen()
        if not ended:
            left = stages.look(int(LOOKS_PER_SECOND * POLL_SECONDS), inbox.ended.is_set)
            tell_suite(partial(suite.update, left // 2))
            stages.look_back(left // 2, inbox.ended.is_set)
    deadline = time.monotonic() + CATCH_UP_SECONDS

    def enough() -> bool:
        return haste and time.monotonic() > deadline

    stages.look(None, enough)
    ending = read_json(report) if report.exists() else None
    tell_suite(lambda: suite.finish(ending, enough))
    stages.look_back(None, enough)
    stages.close()
    return stages.failures + broken


@contextmanager
def alone(path: Path, ended: threading.Event) -> Iterator[bool]:
    """Hold a lock, so that no two mirrors send the same; give False where that failed.

    The system takes the lock from a process that dies.
    """
    patience = CATCH_UP_SECONDS
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.2)
                patience -= 0.2 if ended.is_set() else 0
                if patience <= 0:
                    yield False
                    return
        yield True


def main() -> int:
    """Mirror a suite until standard input ends; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--no-haste", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    os.nice(NICENESS)
    inbox = Inbox()
    with alone(options.out / "wandb" / "mirror.lock", inbox.ended) as mine:
        if not mine:
            logger.error("another mirror is at work in %s", options.out)
            return 1
        return min(1, mirror(options.out, options.report, inbox, not options.no_haste))


if __name__ == "__main__":
    sys.exit(main())
