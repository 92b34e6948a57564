"""Runs one stage as a process: ``python -m im_bench.runner.stage FOLDER``.

Exit status: 0 done, 1 failed, 75 interrupted or busy elsewhere. SIGTERM and SIGINT ask the stage to
stop at its next safe point; a second one ends it at once, which loses what came after its last
checkpoint.
"""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from im_bench.runner.attempt import INTERRUPTED, run_attempt


def main(arguments: list[str]) -> int:
    """Run the stage in the folder that is named, and return the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m im_bench.runner.stage FOLDER\n")
        return os.EX_USAGE
    return _run(Path(arguments[0]), _stop_on(signal.SIGTERM, signal.SIGINT))


def run_in_child(path: Path, environment: Mapping[str, str]) -> None:
    """Run a stage in a process that a runner forked; does not return.

    Output goes to ``log.txt``. The terminal's Ctrl-C, which reaches all its processes, is ignored:
    the runner asks by SIGTERM. A runner that dies counts as asking, so that no stage outlives it.

    Args:
        path: The stage's folder.
        environment: Variables to set first.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = _stop_on(signal.SIGTERM)
    _redirect(path / "log.txt")
    os.environ.update(environment)
    threading.Thread(target=_stop_with_parent, args=(stop,), daemon=True).start()
    sys.exit(_run(path, stop))


def _run(path: Path, stop: threading.Event) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    faulthandler.enable()
    return run_attempt(path, stop)


def _stop_on(*signals: signal.Signals) -> threading.Event:
    """Return an event that the first of these signals sets; the second ends the process."""
    stop = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)
        stop.set()

    for number in signals:
        signal.signal(number, ask)
    return stop


def _redirect(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)


def _stop_with_parent(stop: threading.Event) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        stop.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
