"""The process that mirrors a suite to W&B: ``python -m im_bench.report.mirror_process``.

It ends when its standard input does: the runner holds the other end, so that its death is noticed
as well as its wish.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from im_bench.files import read_json

if TYPE_CHECKING:
    from im_bench.report.wandb_runs import StageMirror

POLL_SECONDS = 2.0
#: After the runner has ended: how long to wait for another mirror, and to send what is left.
CATCH_UP_SECONDS = 8.0
MOST_OPEN = 8
MOST_FAILURES = 3
NICENESS = 10

logger = logging.getLogger(__name__)


def mirror(out: Path, stages: Path, report: Path, ended: threading.Event) -> int:
    """Send what the stages leave until the runner has ended, then what remains, then the tables.

    Args:
        out: The results folder.
        stages: JSON file with the fields of each stage's ``StageCard``.
        report: JSON file that the runner leaves at the end, with the tables.
        ended: Set when the runner has ended.

    Returns:
        The number of stages that could not be sent.

    Raises:
        Exception: Whatever W&B raises, when it fails again and again.
    """
    from im_bench.report.wandb_runs import StageCard, StageMirror, log_report
    from im_bench.report.wandb_tracker import Tracker

    tracker = Tracker(out)
    if tracker.mode == "disabled":
        return 0
    cards = [StageCard(**fields) for fields in read_json(stages)]
    mirrors = [StageMirror(card, out / "stages", tracker) for card in cards]
    waiting = [one for one in mirrors if not one.finished]
    failures = send_new(waiting, ended.is_set)
    while not ended.wait(POLL_SECONDS):
        failures += send_new(waiting, ended.is_set)
    deadline = time.monotonic() + CATCH_UP_SECONDS
    failures += send_new(waiting, lambda: time.monotonic() > deadline)
    for one in waiting:
        one.close()
    if report.exists():
        log_report(report, tracker)
    return failures


def send_new(waiting: list[StageMirror], enough: Callable[[], bool]) -> int:
    """Send what is new of each stage, once.

    Args:
        waiting: The stages; those that are finished, or could not be sent, are taken out.
        enough: Asked before each stage; whether to leave the rest for another time.

    Returns:
        The number of stages that could not be sent.
    """
    failures = 0
    for one in list(waiting):
        if enough():
            break
        try:
            one.update(may_open=sum(other.is_open for other in waiting) < MOST_OPEN)
        except Exception:
            logger.exception("%s could not be mirrored", one.card.slug)
            waiting.remove(one)
            failures += 1
            if failures == MOST_FAILURES:
                raise
        else:
            if one.finished:
                waiting.remove(one)
    return failures


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


def main(out: Path, stages: Path, report: Path) -> int:
    """Mirror a suite until standard input ends; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    os.nice(NICENESS)
    ended = threading.Event()

    def watch() -> None:
        sys.stdin.buffer.read()
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    with alone(out / "wandb" / "mirror.lock", ended) as mine:
        if not mine:
            logger.error("another mirror is at work in %s", out)
            return 1
        return min(1, mirror(out, stages, report, ended))


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
