"""An engine that runs one stage at a time on the CPU, and writes down each command."""

from __future__ import annotations

import shlex
import signal
import subprocess
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from im_bench.runner.engines.base import Ended, Task
from im_bench.runner.engines.commands import stage_command
from im_bench.runner.engines.options import EngineOptions
from im_bench.runner.folder import StageFolder
from im_bench.runner.job import Settings


class EchoOptions(EngineOptions):
    """What ``--engine echo`` or a YAML file with ``engine: echo`` sets.

    Attributes:
        engine: ``echo``.
        threads: CPU threads of a stage.
        file: Where commands are written, below the results folder.
    """

    engine: Literal["echo"] = "echo"
    threads: PositiveInt = 1
    file: str = "commands.txt"

    def make(self, out: Path) -> EchoEngine:
        """Return the engine."""
        return EchoEngine(self, out)


class EchoEngine:
    """Runs one stage at a time, in a process of its own.

    Args:
        options: Of the engine.
        out: The results folder.
    """

    def __init__(self, options: EchoOptions, out: Path) -> None:
        self._options = options
        self._file = out / options.file
        self._running: tuple[StageFolder, subprocess.Popen[bytes]] | None = None

    @property
    def busy(self) -> bool:
        """Whether the stage runs."""
        return self._running is not None

    def fits(self, task: Task) -> bool:
        """Return whether no other stage runs."""
        return self._running is None

    def reserve(self, task: Task | None) -> None:
        """Do nothing: a stage of any size fits as soon as the one before it ends."""

    def start(self, task: Task) -> None:
        """Start a stage, and write down its command."""
        settings = Settings("cpu", threads=self._options.threads, minutes=task.needs.minutes)
        task.folder.write_settings(settings)
        command = stage_command(task.folder.path.absolute(), "--log")
        with self._file.open("a", encoding="utf-8") as file:
            file.write(shlex.join(command) + "\n")
        self._running = task.folder, subprocess.Popen(command)

    def wait(self, timeout: float) -> list[Ended]:
        """Return the stage if it ends within so many seconds."""
        if self._running is None:
            return []
        folder, process = self._running
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            return []
        self._running = None
        return [Ended(folder, code)]

    def terminate(self) -> None:
        """Ask the stage to stop at its next safe point."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the stage at once."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Do nothing: no stage runs any more."""

    def _signal(self, number: signal.Signals) -> None:
        if self._running is not None:
            self._running[1].send_signal(number)
