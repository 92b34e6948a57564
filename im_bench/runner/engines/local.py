"""The local engine: stages are forked on this machine, into slots."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import cast

from im_bench.errors import ImBenchError
from im_bench.runner.engines.base import Ended, Task
from im_bench.runner.engines.machine import Machine, Place
from im_bench.runner.engines.options import LocalOptions
from im_bench.runner.folder import StageFolder
from im_bench.runner.job import Settings
from im_bench.runner.locks import STALE_SECONDS
from im_bench.runner.owner import process_state
from im_bench.runner.stage import BLOCKED, run_in_child

#: What stages need and take seconds to import.
PRELOAD = ("im_bench.stages.preload",)


#: Between two looks at whether stages stand still.
LOOK_SECONDS = 5.0


@dataclass
class _Running:
    """A stage that runs.

    Attributes:
        process: Its process.
        folder: Its folder.
        place: What it occupies.
        looks: How often in a row it was found standing still.
        lost: Why the engine has ended it itself, or an empty string.
    """

    process: ForkServerProcess
    folder: StageFolder
    place: Place
    looks: int = 0
    lost: str = ""


class LocalEngine:
    """Forks stages on this machine from a server process that has the heavy imports done.

    Args:
        options: Which GPUs and CPUs stages get.
        preload: Modules that the server process imports, :data:`PRELOAD` by default. It is started
            once per process, so the first engine decides.

    Raises:
        ImBenchError: If a GPU is asked for and there is none.
    """

    def __init__(
        self, options: LocalOptions | None = None, preload: Sequence[str] | None = None
    ) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOAD if preload is None else preload))
        _start_server()
        options = options or LocalOptions()
        self._gpus = self._visible_gpus(options)
        named = options.device not in ("auto", "cpu", "cuda")
        self.machine = Machine(
            gpus=len(self._gpus),
            slots_per_gpu=options.slots_per_gpu,
            slots=options.slots or (1 if named else None),
            cores=_cores(),
            memory=_memory(),
        )
        if named:
            self._device = options.device
        else:
            self._device = "cuda" if self._gpus else "cpu"
        self._running: dict[int, _Running] = {}
        self._next_look = 0.0

    @property
    def busy(self) -> bool:
        """Whether any stage runs."""
        return bool(self._running)

    def fits(self, task: Task) -> bool:
        """Return whether there is room for a task now.

        Raises:
            ImBenchError: This machine is too small for it.
        """
        return self.machine.find(task) is not None

    def reserve(self, task: Task | None) -> None:
        """Keep room free until this task fits, or none any more."""
        self.machine.reserve(task)

    def start(self, task: Task) -> None:
        """Start a task that fits.

        Raises:
            ImBenchError: There is no room for it.
            OSError: The machine allows no further process, or the folder cannot be written.
        """
        place = self.machine.take(task)
        try:
            process = self._fork(task, place)
        except BaseException:
            self.machine.release(place)
            raise
        self._running[process.sentinel] = _Running(process, task.folder, place)

    def wait(self, timeout: float) -> list[Ended]:
        """Return the stages that ended, as soon as there is one, or none after so many seconds."""
        self._end_what_stands_still()
        ended = []
        for sentinel in wait(list(self._running), timeout):
            one = self._running.pop(cast(int, sentinel))
            one.process.join()
            code = None if one.lost else one.process.exitcode or 0
            ended.append(Ended(one.folder, code, one.lost))
            one.process.close()
            self.machine.release(one.place)
        return ended

    def terminate(self) -> None:
        """Ask all stages to stop at their next safe point."""
        for one in self._running.values():
            one.process.terminate()

    def kill(self) -> None:
        """End all stages at once."""
        for one in self._running.values():
            one.process.kill()

    def close(self) -> None:
        """Do nothing: the server ends with this process."""

    def _end_what_stands_still(self) -> None:
        """Kill stages that somebody has stopped (SIGSTOP): others may have taken them over."""
        now = time.monotonic()
        if now < self._next_look:
            return
        # This process may have been stopped itself, and its stages with it: count looks, not time.
        self._next_look = now + LOOK_SECONDS
        for one in self._running.values():
            still = process_state(one.process.pid or 0) == "T"
            one.looks = one.looks + 1 if still else 0
            if one.looks > STALE_SECONDS / LOOK_SECONDS:
                one.lost = f"its process stood still for {STALE_SECONDS:.0f} s and was ended"
                one.process.kill()

    def _fork(self, task: Task, place: Place) -> ForkServerProcess:
        device = self._device if place.gpus or not self._gpus else "cpu"
        settings = Settings(device=device, threads=place.cpus, minutes=task.needs.minutes)
        task.folder.write_settings(settings)
        visible = ",".join(self._gpus[i] for i in place.gpus)
        process = self._context.Process(
            target=run_in_child,
            args=(
                task.folder.path.absolute(),
                {"CUDA_VISIBLE_DEVICES": visible} if self._gpus else {},
            ),
        )
        with _without_main():
            process.start()
        return process

    def _visible_gpus(self, options: LocalOptions) -> list[str]:
        """Return the GPUs to use, as ``CUDA_VISIBLE_DEVICES`` names them."""
        if options.device not in ("auto", "cuda"):
            if options.gpus is not None:
                raise ImBenchError(
                    f"--gpus and --device {options.device} contradict each other: leave one out"
                )
            return []
        there = self._count_gpus()
        visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        names = visible[:there] or [str(i) for i in range(there)]
        if options.device == "cuda" and not names:
            raise ImBenchError("--device cuda: PyTorch sees no GPU here: use --device cpu")
        for name in options.gpus or ():
            if name not in names:
                raise ImBenchError(
                    f"--gpus {name}: PyTorch sees no such GPU here (it sees "
                    f"{', '.join(names) or 'none'}): name others, or use --device cpu"
                )
        return list(dict.fromkeys(options.gpus)) if options.gpus else names

    def _count_gpus(self) -> int:
        """Return how many GPUs PyTorch sees, without loading it here."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_count_gpus, args=(theirs,))
        with _without_main():
            process.start()
        theirs.close()
        try:
            count: int = ours.recv()
        except EOFError:
            raise ImBenchError(
                "PyTorch does not start (see above): repair the installation"
            ) from None
        process.join()
        return count


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


def _memory() -> float:
    """Return the machine's main memory in GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
