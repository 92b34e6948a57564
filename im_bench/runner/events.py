"""What a run tells while it goes on, and when it is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from im_bench.suites.graph import Stage


class EventKind(str, Enum):
    """What can be told of a stage while a plan runs."""

    PRESENT = "present"  # needs no run
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"
    RETRYING = "retrying"
    LOST = "lost"
    PRUNED = "pruned"
    ELSEWHERE = "elsewhere"
    WARNING = "warning"


@dataclass(frozen=True)
class Event:
    """Something happened to a stage.

    Attributes:
        what: The kind of thing.
        stage: To whom.
        detail: A sentence, where there is more to say.
    """

    what: EventKind
    stage: Stage
    detail: str = ""


@dataclass
class Summary:
    """How a run ended.

    Attributes:
        total: Stages that the plan's runnable cells need.
        present: Of these, the ones that needed no run.
        done: Slugs of those that were done during this run.
        failed: Sentence of each that failed, by slug.
        to_correct: Slugs of those of them whose cause is wrong input.
        pruned: Reason for pruning, by slug.
        skipped: Reason for not running what depends on a failed stage, by slug.
        refused: Why each cell that cannot run was left out, by name.
        interrupted: Whether the run was asked to stop before its end.
    """

    total: int = 0
    present: int = 0
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    to_correct: set[str] = field(default_factory=set)
    pruned: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """Status for the shell: 0 all well, 1 something failed, 130 interrupted."""
        if self.interrupted:
            return 130
        return 1 if self.failed or self.skipped or self.refused else 0
