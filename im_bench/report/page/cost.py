"""What results cost: the time that stages took, how fast they were, and on what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from im_bench.report.page.stages import Stages
from im_bench.report.tables.entries import ResultsTable
from im_bench.suites.graph import Stage

KINDS = ("train", "pseudo-label", "evaluate", "data")


@dataclass(frozen=True)
class Cost:
    """The cost of a method, or of the suite.

    Attributes:
        title: Of the method.
        stages: How many stages are done.
        seconds: By kind of stage, over all attempts.
        speed: Median over trainings of images per second, None without a training.
        memory: Largest peak of GPU memory in GiB, None without a GPU.
        devices: With the number of trainings on each.
        share: Of the dearest method's seconds, in 0..1.
    """

    title: str
    stages: int
    seconds: dict[str, float]
    speed: float | None
    memory: float | None
    devices: tuple[tuple[str, int], ...]
    share: float = 0.0

    @property
    def total(self) -> float:
        """Seconds of all kinds."""
        return sum(self.seconds.values())


@dataclass(frozen=True)
class Costs:
    """What the methods of a suite cost, and all of it together."""

    methods: tuple[Cost, ...]
    together: Cost


def costs(stages: Stages, table: ResultsTable) -> Costs | None:
    """Return the costs, or None while nothing is done."""
    devices = {
        stage.key: str(last["device"])
        for stage in stages.existing
        if stage.kind == "train"
        and stages.result(stage)
        and (last := next(reversed(stages.folder(stage).provenances()), None))
        and last.get("device")
    }
    if not any(stages.result(stage) for stage in stages.existing):
        return None
    finals: dict[str, list[str]] = {}
    for cell in stages.plan.cells:
        finals.setdefault(cell.method, []).extend(cell.finals.values())
    found = [
        _cost(row.title, stages.plan.closure(finals[row.method]), stages, devices)
        for row in table.rows
        if row.method in finals
    ]
    most = max(cost.total for cost in found) or 1.0
    methods = tuple(
        Cost(c.title, c.stages, c.seconds, c.speed, c.memory, c.devices, c.total / most)
        for c in found
    )
    return Costs(methods, _cost("The suite", stages.plan.graph, stages, devices))


def _cost(title: str, needed: Iterable[Stage], stages: Stages, devices: dict[str, str]) -> Cost:
    seconds = dict.fromkeys(KINDS, 0.0)
    count = 0
    speeds, memory = [], []
    used: Counter[str] = Counter()
    for stage in needed:
        result = stages.result(stage)
        if result is None:
            continue
        count += 1
        seconds[stage.kind] += float(result.get("seconds_in_all") or result.get("seconds") or 0)
        outcome = stages.outcome(stage)
        if "images_per_second" in outcome:
            speeds.append(float(outcome["images_per_second"]))
        if "peak_memory" in outcome:
            memory.append(float(outcome["peak_memory"]) / 2**30)
        if stage.key in devices:
            used[devices[stage.key]] += 1
    return Cost(
        title,
        count,
        seconds,
        median(speeds) if speeds else None,
        max(memory, default=None),
        tuple(used.most_common(4)),
    )


def duration(seconds: float) -> str:
    """Return ``3.2 h``, ``14 min`` or ``9 s``, and nothing for no time at all."""
    if not seconds:
        return ""
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
