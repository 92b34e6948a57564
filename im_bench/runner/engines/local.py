"""The local engine: stages are forked on this machine, into slots."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import cast

from im_bench.errors import ImBenchError
from im_bench.runner.engines.base import Ended, Task
from im_bench.runner.engines.forks import Child, Forks
from im_bench.runner.engines.machine import Machine, Place
from im_bench.runner.engines.options import LocalOptions
from im_bench.runner.folder import StageFolder
from im_bench.runner.job import Settings
from im_bench.runner.locks import STALE_SECONDS
from im_bench.runner.owner import process_state

#: What stages need and take seconds to import.
PRELOAD = ("im_bench.stages.preload",)


#: Processes that wait for the next stages.
AHEAD = 2
#: Between two looks at whether stages stand still.
LOOK_SECONDS = 5.0


@dataclass
class _Running:
    """A stage that runs.

    Attributes:
        child: Its process.
        folder: Its folder.
        place: What it occupies.
        code: Exit status, once the process has given it, which is before it leaves.
        looks: How often in a row it was found standing still.
        lost: Why the engine has ended it itself, or an empty string.
    """

    child: Child
    folder: StageFolder
    place: Place
    code: int | None = None
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
        options = options or LocalOptions()
        self._forks = Forks(PRELOAD if preload is None else preload, ahead=AHEAD)
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
        self._running: dict[Connection, _Running] = {}
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
            child = self._fork(task, place)
        except BaseException:
            self.machine.release(place)
            raise
        self._running[child.line] = _Running(child, task.folder, place)

    def wait(self, timeout: float) -> list[Ended]:
        """Return the stages that ended, as soon as there is one, or none after so many seconds."""
        self._forks.refill()
        self._end_what_stands_still()
        deadline = time.monotonic() + timeout
        ended: list[Ended] = []
        while not ended and (lines := wait(list(self._running), deadline - time.monotonic())):
            for line in cast("list[Connection]", lines):
                one = self._running[line]
                told = one.child.told()
                if told is not None:
                    one.code = told
                    if one.place.gpus:
                        continue  # A GPU is free only when the process has gone, a core now.
                del self._running[line]
                code = one.child.exit_status() if one.code is None else one.code
                ended.append(Ended(one.folder, None if one.lost else code, one.lost))
                self._forks.dismiss(one.child)
                self.machine.release(one.place)
        return ended

    def terminate(self) -> None:
        """Ask all stages to stop at their next safe point."""
        for one in self._running.values():
            one.child.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End all stages at once."""
        for one in self._running.values():
            one.child.signal(signal.SIGKILL)

    def close(self) -> None:
        """End the processes that wait for stages; the server ends with this process."""
        self._forks.close()

    def _end_what_stands_still(self) -> None:
        """Kill stages that somebody has stopped (SIGSTOP): others may have taken them over."""
        now = time.monotonic()
        if now < self._next_look:
            return
        # This process may have been stopped itself, and its stages with it: count looks, not time.
        self._next_look = now + LOOK_SECONDS
        for one in self._running.values():
            still = process_state(one.child.process.pid or 0) == "T"
            one.looks = one.looks + 1 if still else 0
            if one.looks > STALE_SECONDS / LOOK_SECONDS:
                one.lost = f"its process stood still for {STALE_SECONDS:.0f} s and was ended"
                one.child.signal(signal.SIGKILL)

    def _fork(self, task: Task, place: Place) -> Child:
        device = self._device if place.gpus or not self._gpus else "cpu"
        settings = Settings(
            device=device,
            threads=place.cpus,
            minutes=task.needs.minutes,
            processes=len(place.gpus) if len(place.gpus) > 1 else task.needs.workers,
        )
        task.folder.write_settings(settings)
        visible = ",".join(self._gpus[i] for i in place.gpus)
        environment = {"CUDA_VISIBLE_DEVICES": visible} if self._gpus else {}
        return self._forks.run(task.folder.path.absolute(), environment)

    def _visible_gpus(self, options: LocalOptions) -> list[str]:
        """Return the GPUs to use, as ``CUDA_VISIBLE_DEVICES`` names them."""
        if options.device not in ("auto", "cuda"):
            if options.gpus is not None:
                raise ImBenchError(
                    f"--gpus and --device {options.device} contradict each other: leave one out"
                )
            return []
        there = self._forks.count_gpus()
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


def _memory() -> float:
    """Return the machine's main memory in GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
