"""What the Ray engine and the process that holds its connection say to each other."""

from __future__ import annotations

from dataclasses import dataclass

from im_bench.runner.failures import Failure


@dataclass(frozen=True)
class Room:
    """What a task takes, or a node has.

    Attributes:
        cpus: CPU cores.
        gpus: GPUs; tasks can take shares of one.
        memory: GiB of main memory.
    """

    cpus: float = 0.0
    gpus: float = 0.0
    memory: float = 0.0

    def __add__(self, other: Room) -> Room:
        """Return both together."""
        return Room(self.cpus + other.cpus, self.gpus + other.gpus, self.memory + other.memory)

    def holds(self, *others: Room) -> bool:
        """Return whether others find room in it together."""
        tolerance = 1e-6  # shares like 0.1 + 0.2
        together = sum(others, Room())
        return (
            together.cpus <= self.cpus + tolerance
            and together.gpus <= self.gpus + tolerance
            and together.memory <= self.memory + tolerance
        )

    def __str__(self) -> str:
        parts = {"CPUs": self.cpus, "GPUs": self.gpus, "GiB of memory": self.memory}
        return ", ".join(f"{value:g} {name}" for name, value in parts.items() if value)


@dataclass(frozen=True)
class Start:
    """To the driver: run the stage in this folder."""

    path: str
    needs: Room


@dataclass(frozen=True)
class Cancel:
    """To the driver: ask all stages to stop, or end them at once."""

    at_once: bool


@dataclass(frozen=True)
class Refused:
    """From the driver, before it ends: why there is no connection."""

    why: str


@dataclass(frozen=True)
class Cluster:
    """From the driver: the cluster as it is now.

    Attributes:
        nodes: What each living node has.
        possible: What one node could have at most that an autoscaler would start, if there is one.
    """

    nodes: tuple[Room, ...]
    possible: Room = Room()


@dataclass(frozen=True)
class Over:
    """From the driver: a task is over.

    Attributes:
        path: The stage's folder.
        code: Exit status of its process, or None if nobody knows.
        lost: A sentence about the loss, if it is not the stage's fault.
        failure: Why the stage failed, if its process could not say so itself.
    """

    path: str
    code: int | None = None
    lost: str = ""
    failure: Failure | None = None
