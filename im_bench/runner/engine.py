"""Engines decide where stages run. The local one forks them on this machine, into slots."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Protocol, cast

from im_bench.errors import ImBenchError
from im_bench.runner.folder import StageFolder
from im_bench.runner.job import Settings
from im_bench.runner.stage import BLOCKED, run_in_child

#: What stages need and take seconds to import.
PRELOAD = ("im_bench.stages.preload",)


@dataclass(frozen=True)
class Ended:
    """A stage's process is over.

    Attributes:
        folder: Of the stage, which says whether it is done.
        code: Exit status of the process; negative is the signal that killed it.
    """

    folder: StageFolder
    code: int


class Engine(Protocol):
    """Somewhere to run stages."""

    @property
    def free(self) -> int:
        """How many more stages can be started now."""

    @property
    def busy(self) -> bool:
        """Whether any stage runs."""

    def start(self, folder: StageFolder) -> None:
        """Start the stage whose ``stage.json`` lies in the folder."""

    def wait(self, timeout: float) -> list[Ended]:
        """Return the stages that ended, as soon as there is one, or none after so many seconds."""

    def terminate(self) -> None:
        """Ask all stages to stop at their next safe point."""

    def kill(self) -> None:
        """End all stages at once."""


@dataclass(frozen=True)
class Slot:
    """Room for one stage at a time.

    Attributes:
        settings: What the stage is told.
        environment: Variables that it gets.
    """

    settings: Settings
    environment: tuple[tuple[str, str], ...] = ()


class LocalEngine:
    """Forks stages on this machine from a server process that has the heavy imports done.

    Args:
        slots: Stages at a time. Default: one per GPU, or one per CPU where there is no GPU.
        device: ``auto``, ``cpu``, ``cuda`` (all GPUs, in turn), or one torch device.
        preload: Modules that the server process imports, :data:`PRELOAD` by default. It is started
            once per process, so the first engine decides.

    Raises:
        ImBenchError: If a GPU is asked for and there is none.
    """

    def __init__(
        self,
        slots: int | None = None,
        device: str = "auto",
        preload: Sequence[str] | None = None,
    ) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOAD if preload is None else preload))
        _start_server()
        self._free = self._make_slots(slots, device)
        self._free.reverse()
        self.slots = len(self._free)
        self._running: dict[int, tuple[ForkServerProcess, StageFolder, Slot]] = {}

    @property
    def free(self) -> int:
        """How many more stages can be started now."""
        return len(self._free)

    @property
    def busy(self) -> bool:
        """Whether any stage runs."""
        return bool(self._running)

    def start(self, folder: StageFolder) -> None:
        """Start a stage in a free slot.

        Raises:
            OSError: If the machine allows no further process, or the folder cannot be written.
        """
        slot = self._free[-1]
        folder.write_settings(slot.settings)
        process = self._context.Process(
            target=run_in_child, args=(folder.path.absolute(), dict(slot.environment))
        )
        with _without_main():
            process.start()
        self._free.pop()
        self._running[process.sentinel] = (process, folder, slot)

    def wait(self, timeout: float) -> list[Ended]:
        """Return the stages that ended, as soon as there is one, or none after so many seconds."""
        ended = []
        for sentinel in wait(list(self._running), timeout):
            process, folder, slot = self._running.pop(cast(int, sentinel))
            process.join()
            ended.append(Ended(folder, process.exitcode or 0))
            process.close()
            self._free.append(slot)
        return ended

    def terminate(self) -> None:
        """Ask all stages to stop at their next safe point."""
        for process, _, _ in self._running.values():
            process.terminate()

    def kill(self) -> None:
        """End all stages at once."""
        for process, _, _ in self._running.values():
            process.kill()

    def _make_slots(self, wanted: int | None, device: str) -> list[Slot]:
        cores = _cores()
        gpus = self._gpus() if device in ("auto", "cuda") else []
        if device == "cuda" and not gpus:
            raise ImBenchError("--device cuda: PyTorch sees no GPU here: use --device cpu")
        count = wanted or len(gpus) or (cores if device in ("auto", "cpu") else 1)
        name = device if device not in ("auto", "cuda") else "cuda" if gpus else "cpu"
        settings = Settings(device=name, threads=max(1, cores // count))
        if not gpus:
            return [Slot(settings)] * count
        visible = [(("CUDA_VISIBLE_DEVICES", gpu),) for gpu in gpus]
        return [Slot(settings, visible[i % len(gpus)]) for i in range(count)]

    def _gpus(self) -> list[str]:
        """Return the GPUs as ``CUDA_VISIBLE_DEVICES`` names them, without loading torch here."""
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
        visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        return visible[:count] or [str(i) for i in range(count)]


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
