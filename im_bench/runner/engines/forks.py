"""Processes forked from one that has the heavy imports done, some of them ahead of their work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import types
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple

from im_bench.errors import ImBenchError
from im_bench.runner.stage import BLOCKED, run_in_child

#: Seconds to wait for a server that was killed to be gone, before another is started.
SERVER_PAUSES = (0.05, 0.2, 1.0)


class Child(NamedTuple):
    """A process that waits for a stage, runs one, or leaves after one.

    Attributes:
        process: The process.
        line: To it: takes the stage, and gives its exit status while the process still leaves,
            which takes longer than everything else that the runner does for a stage.
    """

    process: ForkServerProcess
    line: Connection

    def told(self) -> int | None:
        """Return the exit status that the process gives before it leaves, or None if it has left.

        Waits for one of both.
        """
        try:
            return int(self.line.recv())
        except (EOFError, OSError):
            return None

    def exit_status(self) -> int:
        """Return the exit status, negative for a signal, of a process that leaves."""
        self.process.join()
        return self.process.exitcode or 0

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, even if the server died from which the process was forked."""
        if (pid := self.process.pid) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


class Forks:
    """Starts stages' processes.

    A fork of a process that has PyTorch loaded takes time, so that some wait for their stage.

    Args:
        preload: Modules that the server process imports. It is started once per process, so the
            first instance decides.
        ahead: How many processes wait for a stage.
    """

    def __init__(self, preload: Sequence[str], ahead: int) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([*preload, "im_bench.runner.engines.orphans"])
        _start_server()
        self._ahead = ahead
        self._spares: deque[Child] = deque()
        self._leaving: list[Child] = []
        # Those that still wait end with their line, so that this process can.
        self._finalizer = weakref.finalize(self, _hang_up, self._spares)

    def run(self, folder: Path, environment: Mapping[str, str]) -> Child:
        """Run the stage in a folder, with these variables set.

        Raises:
            OSError: The machine allows no further process.
        """
        order = (folder, dict(environment))
        while self._spares:
            child = self._spares.popleft()
            if child.process.is_alive():
                with suppress(OSError):  # It died just now.
                    child.line.send(order)
                    return child
            self.dismiss(child)
        child = self._fork()
        child.line.send(order)
        return child

    def dismiss(self, child: Child) -> None:
        """Forget a process whose status is known; it is buried when it has left."""
        child.line.close()
        self._leaving.append(child)

    def refill(self) -> None:
        """Bury what has left, and fork what is to wait, which takes time in the server only."""
        for child in list(self._leaving):
            if child.process.exitcode is not None:
                child.process.close()
                self._leaving.remove(child)
        while len(self._spares) < self._ahead:
            try:
                self._spares.append(self._fork())
            except OSError:
                return  # Whoever needs one sees the reason.

    def close(self) -> None:
        """End the processes that still wait."""
        self._finalizer()

    def count_gpus(self) -> int:
        """Return how many GPUs PyTorch sees, without loading it here.

        Raises:
            ImBenchError: PyTorch cannot be loaded.
        """
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_count_gpus, args=(theirs,))
        _start(process)
        theirs.close()
        try:
            count: int = ours.recv()
        except EOFError:
            raise ImBenchError(
                "PyTorch does not start (see above): repair the installation"
            ) from None
        process.join()
        return count

    def _fork(self) -> Child:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_await_stage, args=(theirs,))
        try:
            _start(process)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return Child(process, ours)


def _await_stage(line: Connection) -> None:
    try:
        folder, environment = line.recv()
    except EOFError:
        return
    status = run_in_child(folder, environment)
    line.send(status)
    sys.exit(status)


def _hang_up(spares: deque[Child]) -> None:
    while spares:
        spares.pop().line.close()


def _start(process: ForkServerProcess) -> None:
    """Start a process; should the server have died just now, from a new one.

    Raises:
        OSError: The machine allows no further process.
    """
    for pause in SERVER_PAUSES:
        _start_server()
        try:
            with _without_main():
                process.start()
            return
        except (ConnectionError, EOFError) as error:
            died = error
            time.sleep(pause)
    raise OSError(f"the server from which stages are forked dies again and again ({died!r})")


def _start_server() -> None:
    """Start the server from which stages are forked, unless it runs, with signals blocked.

    So a signal to the whole process group, such as Ctrl-C, ends neither the server nor a stage that
    cannot handle it yet. The server ends when its runner does.
    """
    resource_tracker.ensure_running()  # It would unblock the signals if the server started it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _count_gpus(answer: Connection) -> None:
    import torch

    answer.send(torch.cuda.device_count())


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep multiprocessing from running the program's main module once more in each child.

    Stages need nothing of it, and importing it costs each of them time.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
