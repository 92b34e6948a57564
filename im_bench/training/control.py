"""How whoever started a training follows it and stops it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Protocol


class Progress(Protocol):
    """Receives how far a training is; see :meth:`im_bench.runner.job.Job.progress`."""

    def __call__(self, step: int, total: int, **numbers: float) -> None:
        """Take note."""


class TrainingStopped(Exception):  # noqa: N818 - a request, not an error
    """The training was asked to stop, and saved its state before the next step."""


@dataclass
class Control:
    """What a training runner is given beside its config.

    Attributes:
        progress: Told about once a second, or None.
        stop: When set, the training saves its state before the next step and raises
            :class:`TrainingStopped`.
    """

    progress: Progress | None = None
    stop: threading.Event = field(default_factory=threading.Event)
