"""What the scheduler and an engine say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from im_bench.runner.folder import StageFolder
from im_bench.suites.resources import ANY, Resources


@dataclass(frozen=True)
class Task:
    """A stage that is to be run.

    Attributes:
        folder: Of the stage, with ``stage.json`` in it.
        needs: What it needs of a machine.
        alone: Whether to keep other stages off its GPU, or off the machine where there is none: it
            has run out of memory beside others.
    """

    folder: StageFolder
    needs: Resources = ANY
    alone: bool = False


@dataclass(frozen=True)
class Ended:
    """A stage's process is over, or out of reach.

    Attributes:
        folder: Of the stage, which says whether it is done.
        code: Exit status of the process; negative is the signal that killed it. None where nobody
            knows, because the place where it ran is lost.
        lost: A sentence about that loss: a machine that died, a job that was cancelled. The stage
            is not to blame and runs again elsewhere.
    """

    folder: StageFolder
    code: int | None
    lost: str = ""


class Engine(Protocol):
    """Somewhere to run stages. It knows no plan and no method, only folders and what they need."""

    @property
    def busy(self) -> bool:
        """Whether any stage runs, or waits for its turn in the engine's own queue."""

    def fits(self, task: Task) -> bool:
        """Return whether the task could be started now.

        Raises:
            ImBenchError: It can never be started here.
        """

    def reserve(self, task: Task | None) -> None:
        """Keep room free until this task fits: smaller ones have overtaken it often enough.

        None takes that back. An engine with a queue of its own need not do anything.
        """

    def start(self, task: Task) -> None:
        """Start a task that fits.

        Raises:
            ImBenchError: The engine refuses it.
            OSError: The machine allows no further process, or the folder cannot be written.
        """

    def wait(self, timeout: float) -> list[Ended]:
        """Return the stages that ended, as soon as there is one, or none after so many seconds."""

    def terminate(self) -> None:
        """Ask all stages to stop at their next safe point. Returns at once."""

    def kill(self) -> None:
        """End all stages at once; `wait` then tells of each."""

    def close(self) -> None:
        """Let go of what the engine holds: a connection, a server. No stage runs any more."""
