"""Runs one stage as a process: ``python -m im_bench.runner.stage [--log] [--lifeline] FOLDER``.

With ``--log``, all output goes to the stage's ``log.txt``. With ``--lifeline``, the end of standard
input asks the stage to stop: whoever started it holds the other end, and so cannot die unnoticed. A
stage that does not stop within its grace period then is ended.

Exit status: 0 done, 1 failed, 75 interrupted or busy elsewhere. SIGTERM and SIGINT ask the stage to
stop at its next safe point; a second one ends it at once, and then what came after its last
checkpoint is lost. With a lifeline signals only ask, however many: Slurm sends several.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from im_bench.runner.attempt import INTERRUPTED, run_attempt
from im_bench.runner.folder import StageFolder

#: Signals that a stage's process is born with blocked, until it can handle them.
BLOCKED = {signal.SIGINT, signal.SIGTERM}


def main(arguments: list[str]) -> int:
    """Run the stage in the folder that is named, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m im_bench.runner.stage")
    parser.add_argument("folder", type=Path, help="the stage's folder, with its stage.json")
    parser.add_argument("--log", action="store_true", help="write to the folder's log.txt")
    parser.add_argument("--lifeline", action="store_true", help="stop when standard input ends")
    options = parser.parse_args(arguments)
    stop = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and not options.lifeline:
            os._exit(INTERRUPTED)
        stop.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    if options.log and options.folder.is_dir():
        _redirect(options.folder / "log.txt")
    if options.lifeline:
        signal.signal(signal.SIGUSR2, ask)
        watch = (stop, StageFolder(options.folder).settings().grace)
        threading.Thread(target=_stop_with_input, args=watch, daemon=True).start()
    return _run(options.folder, stop)


def run_in_child(path: Path, environment: Mapping[str, str]) -> int:
    """Run a stage in a process that a runner forked, and return the exit status.

    Output goes to ``log.txt``. The terminal's Ctrl-C, which reaches all its processes, is ignored:
    the runner asks by SIGTERM, and kills if that does not help. A runner that dies counts as
    asking, so that no stage outlives it for long.

    Args:
        path: The stage's folder.
        environment: Variables to set first.
    """
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
    _redirect(path / "log.txt")
    os.environ.update(environment)
    threading.Thread(target=_stop_with_parent, args=(stop,), daemon=True).start()
    return _run(path, stop)


def _run(path: Path, stop: threading.Event) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    faulthandler.enable()
    return run_attempt(path, stop)


def _redirect(log: Path) -> None:
    """Send all output to a file, or nowhere if that cannot be opened: the terminal is no place."""
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:
        descriptor = os.open(os.devnull, os.O_WRONLY)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)


def _stop_with_parent(stop: threading.Event) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        stop.set()


def _stop_with_input(stop: threading.Event, grace: float) -> None:
    # Not sys.stdin: the interpreter would wait for its lock when it ends.
    while os.read(0, 1 << 10):
        pass
    stop.set()
    time.sleep(grace)
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
