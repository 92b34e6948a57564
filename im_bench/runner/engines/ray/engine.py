"""The Ray engine: stages as tasks of a cluster whose machines share the results folder.

A stage is the same process as everywhere; Ray only decides on which node it is started. The
connection to Ray is held by a process of its own, :mod:`im_bench.runner.engines.ray.driver`.
"""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from multiprocessing import Pipe

from im_bench.errors import ImBenchError
from im_bench.runner.engines.base import Ended, Task
from im_bench.runner.engines.options import RayOptions
from im_bench.runner.engines.ray.messages import Cancel, Cluster, Over, Refused, Room, Start
from im_bench.runner.folder import StageFolder
from im_bench.runner.job import Settings

#: Seconds until a cluster must have answered, until it must have ended what it was told to kill,
#: and until the connection must have been closed.
CONNECT_SECONDS, KILL_SECONDS, CLOSE_SECONDS = 120.0, 30.0, 10.0

#: Seconds between looks at whether a large task has begun.
LOOK_SECONDS = 2.0

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # the nodes have their own environments
    "RAY_gcs_server_request_timeout_seconds": "20",
}


@dataclass
class _Flight:
    """A task that Ray has: it runs, or waits in Ray's queue.

    Attributes:
        folder: Of the stage.
        needs: What it takes.
        attempts: Before this one, of a task that must not wait for long; or None.
    """

    folder: StageFolder
    needs: Room
    attempts: int | None = None

    @property
    def begun(self) -> bool:
        """Whether it runs, or may wait."""
        if self.attempts is not None and self.folder.attempts > self.attempts:
            self.attempts = None
        return self.attempts is None


class RayEngine:
    """Hands stages to a Ray cluster.

    Args:
        options: Which cluster, and what a stage gets that declares nothing.

    Raises:
        ImBenchError: Ray is not installed, or there is no such cluster.
    """

    def __init__(self, options: RayOptions | None = None) -> None:
        self._options = options or RayOptions()
        if self._options.device not in ("auto", "cpu", "cuda"):
            raise ImBenchError(
                f"--device {self._options.device} means nothing to the engine 'ray', which chooses "
                "the GPU itself: use auto, cpu or cuda"
            )
        if importlib.util.find_spec("ray") is None:
            raise ImBenchError("Ray is not installed here: pip install 'im-bench[ray]'")
        self._running: dict[str, _Flight] = {}
        self._over: list[Ended] = []
        self._cluster = Cluster(())
        self._seen: set[Room] = set()
        self._overtaken: Room | None = None
        self._next_look = 0.0
        self._lost = ""
        self._give_up = float("inf")
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._connection, theirs = Pipe()
        self._driver = subprocess.Popen(
            [
                *(sys.executable, "-m", "im_bench.runner.engines.ray.driver"),
                *(str(theirs.fileno()), self._options.address),
            ],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._words,
            stderr=self._words,
            start_new_session=True,  # Ctrl-C is the runner's to handle
            env={**os.environ, **_ENVIRONMENT},
        )
        theirs.close()
        try:
            self._meet()
        except BaseException:
            self.close()
            raise

    @property
    def busy(self) -> bool:
        """Whether Ray has any task, or `wait` has something to say."""
        return bool(self._running or self._over or self._lost)

    def fits(self, task: Task) -> bool:
        """Return whether the cluster has room for a task, or its queue for one more.

        Raises:
            ImBenchError: No node has ever been large enough for it.
        """
        self._listen()
        if self._lost:
            return False
        needs = self._needs(task)
        waiting = self._waiting()
        if waiting and not needs.holds(waiting):
            return False
        taken = sum((flight.needs for flight in self._running.values()), Room())
        whole = sum(self._cluster.nodes, Room())
        # Only what the task needs counts: GPUs that are all taken are no matter to one without.
        return all(
            need == 0 or used + need <= there + self._options.ahead * need + 1e-6
            for used, need, there in zip(
                astuple(taken), astuple(needs), astuple(whole), strict=True
            )
        )

    def reserve(self, task: Task | None) -> None:
        """Do nothing: what waits, waits in Ray's queue."""

    def start(self, task: Task) -> None:
        """Hand a task to Ray.

        Raises:
            ImBenchError: No node has ever been large enough for it, or the cluster is lost.
            OSError: The folder cannot be written.
        """
        needs = self._needs(task)
        device = "cuda" if needs.gpus else "cpu"
        minutes = task.needs.minutes
        workers = task.needs.workers
        settings = Settings(device, max(1, int(needs.cpus)), minutes, processes=workers)
        task.folder.write_settings(settings)
        path = str(task.folder.path.absolute())
        flight = _Flight(task.folder, needs)
        if task.alone or needs.gpus > 1:
            flight.attempts = task.folder.attempts  # before it can begin
            self._next_look = 0.0
        self._send(Start(path, needs))
        self._running[path] = flight

    def wait(self, timeout: float) -> list[Ended]:
        """Return the stages that ended, as soon as there is one, or none after so many seconds.

        Raises:
            ImBenchError: The connection to the cluster is lost.
        """
        self._listen(0 if self._over else timeout)
        if self._lost:
            raise ImBenchError(self._lost)
        if time.monotonic() > self._give_up:
            lost = "its Ray node does not answer"
            self._over += [Ended(flight.folder, None, lost) for flight in self._running.values()]
            self._running.clear()
        over, self._over = self._over, []
        return over

    def terminate(self) -> None:
        """Ask all stages to stop at their next safe point; what waits in Ray's queue is dropped."""
        self._cancel(at_once=False)

    def kill(self) -> None:
        """End all stages at once."""
        self._give_up = time.monotonic() + KILL_SECONDS
        self._cancel(at_once=True)
        if self._lost:  # Ray ends the tasks of a driver that is gone.
            self._running.clear()
            self._over.clear()
            self._lost = ""

    def close(self) -> None:
        """Let go of the cluster."""
        self._connection.close()
        try:
            self._driver.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._driver.kill()
            self._driver.wait()
        self._words.close()

    def _meet(self) -> None:
        """Wait until the driver tells of the cluster."""
        if not self._connection.poll(CONNECT_SECONDS):
            raise ImBenchError(
                f"what listens at {self._options.address} does not answer as a Ray cluster does: "
                "see whether its head runs the same version of Ray"
            )
        try:
            message = self._connection.recv()
        except (EOFError, OSError):
            raise ImBenchError(f"Ray does not start here: {self._last_words()}") from None
        if isinstance(message, Refused):
            raise ImBenchError(message.why)
        self._take(message)
        if self._options.device == "cuda" and not self._has_gpus():
            raise ImBenchError("--device cuda: no node of the Ray cluster has a GPU: use cpu")

    def _listen(self, timeout: float = 0.0) -> None:
        """Take in what the driver says."""
        try:
            while not self._lost and self._connection.poll(timeout):
                self._take(self._connection.recv())
                timeout = 0.0
        except (EOFError, OSError):
            self._lose()

    def _take(self, message: Cluster | Over) -> None:
        if isinstance(message, Cluster):
            self._cluster = message
            self._seen.update(message.nodes)
            return
        flight = self._running.pop(message.path, None)
        if flight is None:
            return
        if message.failure:
            with suppress(OSError):
                flight.folder.record_death(message.failure)
        self._over.append(Ended(flight.folder, message.code, message.lost))

    def _send(self, message: Start | Cancel) -> None:
        try:
            self._connection.send(message)
        except OSError:
            self._lose()
            raise ImBenchError(self._lost) from None

    def _cancel(self, at_once: bool) -> None:
        if self._running and not self._lost:
            with suppress(ImBenchError):
                self._send(Cancel(at_once))

    def _lose(self) -> None:
        self._lost = (
            f"the connection to the Ray cluster is lost ({self._last_words()}): see whether its "
            "head and this machine's node run, then run the same command again"
        )

    def _last_words(self) -> str:
        """Return what the driver said at last, without when and where."""
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").splitlines()
        last = next((line for line in reversed(lines) if line.strip()), "without a word")
        return last.rpartition("] ")[2].partition(". ")[0]

    def _has_gpus(self) -> bool:
        return any(node.gpus for node in (*self._seen, self._cluster.possible))

    def _needs(self, task: Task) -> Room:
        """Return what a task takes of the cluster.

        Raises:
            ImBenchError: No node has ever been large enough for it, or it needs several GPUs where
                stages get none.
        """
        options, declared = self._options, task.needs
        gpus = 0.0
        if options.device == "cuda" or (options.device == "auto" and self._has_gpus()):
            gpus = 1 / options.slots_per_gpu if declared.gpus is None else declared.gpus
        # Ray counts in units of 0.0001, and rounding up would cost the last place on a GPU.
        gpus = math.floor(gpus * 1e4 + 1e-6) / 1e4
        if (declared.gpus or 0) > 1 and not gpus:
            raise ImBenchError(
                f"{task.folder.path.name} needs {declared.gpus:g} GPUs, and stages get none here: "
                "run on a cluster that has them, or change the suite's `resources`"
            )
        cpus = declared.cpus or max(options.cpus, declared.workers)
        needs = Room(cpus, gpus, declared.memory or 0.0)
        large_enough = [node for node in (*self._seen, self._cluster.possible) if node.holds(needs)]
        if not large_enough:
            raise ImBenchError(
                f"{task.folder.path.name} needs {needs}, which no node of the Ray cluster has: "
                "start one that has, or give it less in the suite's `resources`"
            )
        if task.alone and gpus:
            return replace(needs, gpus=max(1.0, gpus))
        if task.alone:
            return replace(needs, cpus=max(node.cpus for node in large_enough))
        return needs

    def _waiting(self) -> Room | None:
        """Return what a large task needs that waits in Ray's queue.

        Ray lets smaller tasks overtake it forever, so none are handed over meanwhile.
        """
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_SECONDS
            waiting = [flight.needs for flight in self._running.values() if not flight.begun]
            self._overtaken = next(iter(waiting), None)
        return self._overtaken
