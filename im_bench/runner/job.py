"""What a stage's function is given: where it is, what it must do, and whom to tell."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from im_bench.files import write_json

#: Folder within a stage's folder for what is of no use once the stage is done; it is removed then.
SCRATCH = "scratch"
#: File in a stage's folder that says that nobody waits for the stage any more.
PRUNED = "pruned.json"


@dataclass(frozen=True)
class Settings:
    """What may differ from run to run without changing a number.

    Attributes:
        device: A torch device, or ``"auto"`` for CUDA where there is one.
        threads: CPU threads that the stage may use.
        processes: Among which a training divides its batch.
        minutes: Longest time of the attempt, or None for no limit.
        grace: Seconds that a stage has to stop after that, before its process ends.
    """

    device: str = "auto"
    threads: int = 1
    minutes: float | None = None
    grace: float = 60.0
    processes: int = 1


class StageInterrupted(Exception):  # noqa: N818 - a request, not an error
    """The stage was asked to stop and did, at a point from which it can resume."""


@dataclass
class Job:
    """One execution of a stage.

    Attributes:
        folder: The stage's own folder, into which artifacts are written.
        config: What was hashed.
        inputs: Folders of the stages that this one needs, by role. All of them are done.
        settings: What was not hashed.
        paths: Where files outside the results folder lie, by name; not hashed either.
        stop: Set when the runner wants the stage to stop.
    """

    folder: Path
    config: Mapping[str, Any]
    inputs: Mapping[str, list[Path]] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    paths: Mapping[str, str] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    _began: float = field(default_factory=time.monotonic)
    _told: float = 0.0

    @property
    def stop_requested(self) -> bool:
        """Whether the runner wants this stage to stop at the next safe point."""
        return self.stop.is_set()

    def progress(self, step: int, total: int, **numbers: float) -> None:
        """Say how far the stage is; at most twice a second reaches the disk.

        A stage that was pruned meanwhile learns of it here, wherever it runs.

        Args:
            step: Steps done.
            total: Steps in all.
            numbers: For instance ``loss``, ``images_per_second``, ``eta_s``; those that are not
                finite are left out.
        """
        now = time.monotonic()
        if now - self._told < 0.5 and step < total:
            return
        self._told = now
        if (self.folder / PRUNED).exists():
            self.stop.set()
        finite = {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
        # How long the attempt has taken, for those that are killed before they can say.
        seconds = round(now - self._began, 3)
        content = {"step": step, "total": total, **finite, "seconds": seconds}
        write_json(self.folder / "progress.json", content, durable=False)
