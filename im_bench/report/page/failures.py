"""What failed, why, and how often it was tried; equal failures stand together."""

from __future__ import annotations

from dataclasses import dataclass

from im_bench.report.page.stages import Stages
from im_bench.runner.store import Status

#: Kinds of failure that are shown, and stages of each.
MOST_KINDS, MOST_STAGES = 40, 12
MESSAGE, TRACEBACK = 600, 3000


@dataclass(frozen=True)
class FailedStage:
    """A stage with a failed attempt.

    Attributes:
        slug: Its name.
        attempts: How many attempts were begun.
        state: ``failed``, or where the stage stands by now.
    """

    slug: str
    attempts: int
    state: str


@dataclass(frozen=True)
class Failure:
    """Stages whose last failed attempt ended alike.

    Attributes:
        type: Of the error.
        cause: What helps against it.
        message: One sentence.
        traceback: The end of one of them.
        stages: The first of the stages.
        count: How many there are.
    """

    type: str
    cause: str
    message: str
    traceback: str
    stages: tuple[FailedStage, ...]
    count: int


@dataclass(frozen=True)
class Failures:
    """All failures of a suite.

    Attributes:
        shown: The kinds that are shown, those of most stages first.
        kinds: How many kinds there are.
        stages: How many stages failed at least once.
        failed: How many of these stand as failed now.
    """

    shown: tuple[Failure, ...]
    kinds: int
    stages: int
    failed: int


def failures(stages: Stages) -> Failures:
    """Return what failed, also where a later attempt went well."""
    alike: dict[tuple[str, str, str], list[FailedStage]] = {}
    tracebacks: dict[tuple[str, str, str], str] = {}
    for stage in stages.existing:
        folder = stages.folder(stage)
        errors = folder.errors()
        if not errors:
            continue
        last = errors[-1]
        kind = (str(last["type"]), str(last["cause"]), _cut(str(last["message"]), MESSAGE))
        state = stages.statuses[stage.key]
        alike.setdefault(kind, []).append(FailedStage(stage.slug, folder.attempts, state.value))
        tracebacks.setdefault(kind, str(last.get("traceback") or "")[-TRACEBACK:])
    ordered = sorted(alike.items(), key=lambda item: -len(item[1]))
    everything = [stage for found in alike.values() for stage in found]
    return Failures(
        tuple(
            Failure(*kind, tracebacks[kind], tuple(found[:MOST_STAGES]), len(found))
            for kind, found in ordered[:MOST_KINDS]
        ),
        len(ordered),
        len(everything),
        sum(stage.state == Status.FAILED.value for stage in everything),
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
