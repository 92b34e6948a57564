"""What the rest of a plan takes, estimated from what stages like those that are left have taken."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean

from im_bench.planning.plan import Plan
from im_bench.runner.folder import Status
from im_bench.runner.progress import share
from im_bench.runner.provenance import is_processor
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage


class Basis(str, Enum):
    """Which measured stages an estimate rests on, nearest first."""

    METHOD = "same data set, kind and method"
    DATA = "same data set and kind"
    KIND = "same kind"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Measured:
    """What a stage has taken that is done.

    Attributes:
        stage: Which.
        seconds: Of all its attempts.
        threads: CPU threads that it had.
        device: Name of the GPU or processor, as its provenance has it.
    """

    stage: Stage
    seconds: float
    threads: int
    device: str


@dataclass(frozen=True)
class Amount:
    """How much work.

    Attributes:
        slot_seconds: Time, each stage by itself.
        gpu_seconds: Of that on GPUs, times the share of a GPU.
        core_seconds: Time times CPU threads.
    """

    slot_seconds: float = 0.0
    gpu_seconds: float = 0.0
    core_seconds: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.slot_seconds + other.slot_seconds,
            self.gpu_seconds + other.gpu_seconds,
            self.core_seconds + other.core_seconds,
        )


@dataclass(frozen=True)
class Left:
    """A stage that is not done.

    Attributes:
        stage: Which.
        basis: What the estimate rests on.
        amount: What is left of it; nothing where that is unknown.
        running: Whether it runs now.
    """

    stage: Stage
    basis: Basis
    amount: Amount
    running: bool = False


def measure(stages: Iterable[Stage], store: Store) -> tuple[list[Measured], list[Stage]]:
    """Return what is known of the stages that are done.

    Returns:
        The measurements, and the stages that give none, because their attempts ran on different
        devices or left no record.
    """
    measured, without = [], []
    for stage in store.existing(stages):
        result = store.result(stage)
        if result is None:
            continue
        made = store.folder(stage).provenances()
        devices = {str(one.get("device")) for one in made}
        seconds = result.get("seconds_in_all", result.get("seconds"))
        if len(devices) != 1 or not isinstance(seconds, int | float):
            without.append(stage)
            continue
        measured.append(Measured(stage, seconds, int(made[-1].get("threads") or 1), devices.pop()))
    return measured, without


def takes_gpu(stage: Stage) -> bool:
    """Return whether a stage computes on a GPU where there is one."""
    return stage.needs.gpus != 0


def devices_of(measured: Iterable[Measured], gpu: bool) -> list[str]:
    """Return on which devices stages were measured, those that measured the most first.

    Args:
        measured: The measurements.
        gpu: Of stages that take a GPU where there is one, or of those that never do.
    """
    counts = Counter(one.device for one in measured if takes_gpu(one.stage) is gpu)
    return [device for device, _ in counts.most_common()]


def nearest_device(measured: Sequence[str], here: Sequence[str]) -> str | None:
    """Return the first device here that was measured, or else the one that was measured most."""
    return next((device for device in here if device in measured), next(iter(measured), None))


class Estimator:
    """Estimates stages by those that were measured on given devices.

    Args:
        measured: The measurements.
        gpu_device: The device whose measurements count for stages that take a GPU where there is
            one. Their shares of a GPU count if it is one.
        cpu_device: Likewise for stages that never take one.
        slots_per_gpu: A stage that declares no share of a GPU takes one of so many.
    """

    def __init__(
        self,
        measured: Iterable[Measured],
        gpu_device: str | None,
        cpu_device: str | None,
        slots_per_gpu: int = 1,
    ) -> None:
        self.devices = {True: gpu_device, False: cpu_device}
        self.on_gpu = gpu_device is not None and not is_processor(gpu_device)
        self._slots_per_gpu = slots_per_gpu
        self._like: dict[tuple[bool | str, ...], list[Measured]] = {}
        for one in measured:
            if one.device == self.devices[takes_gpu(one.stage)]:
                for name in _names(one.stage).values():
                    self._like.setdefault(name, []).append(one)

    def estimate(self, stage: Stage, done: float = 0.0, running: bool = False) -> Left:
        """Return what is left of a stage.

        Args:
            stage: Which.
            done: The part of it that is done, 0 to 1.
            running: Whether it runs now.
        """
        for basis, name in _names(stage).items():
            if like := self._like.get(name):
                seconds = fmean(one.seconds for one in like) * (1 - done)
                threads = fmean(one.threads for one in like)
                amount = Amount(seconds, seconds * self._gpus(stage), seconds * threads)
                return Left(stage, basis, amount, running)
        return Left(stage, Basis.UNKNOWN, Amount(), running)

    def slots(self, stage: Stage) -> int:
        """Return how many slots a stage takes while it runs."""
        if not self.on_gpu or not stage.needs.gpus:
            return 1
        return max(1, math.ceil(stage.needs.gpus * self._slots_per_gpu - 1e-9))

    def _gpus(self, stage: Stage) -> float:
        if not self.on_gpu:
            return 0.0
        return 1 / self._slots_per_gpu if stage.needs.gpus is None else stage.needs.gpus


def _names(stage: Stage) -> dict[Basis, tuple[bool | str, ...]]:
    """Return what stages like this one have in common with it, nearest first."""
    at = stage.coordinates
    kind = (takes_gpu(stage), stage.kind)  # Of one kind, those with and without GPU do not mix.
    return {
        Basis.METHOD: (*kind, at.data, at.method),
        Basis.DATA: (*kind, at.data),
        Basis.KIND: kind,
    }


def unfinished(plan: Plan, store: Store) -> dict[str, float | None]:
    """Return by key what must be made for a plan's cells that have their data, in graph order.

    Returns:
        For a running stage the part of it that is done, 0 to 1, and None for the others.
    """
    existing = {stage.key for stage in store.existing(plan.graph)}
    known: dict[str, Status] = {}

    def done(stage: Stage) -> bool:
        if stage.key not in existing:
            return False
        known[stage.key] = store.status(stage)
        return known[stage.key] is Status.DONE

    finals = [key for cell in plan.cells if not cell.problem for key in cell.finals.values()]
    return {
        stage.key: share(store.progress(stage)) if known.get(stage.key) is Status.RUNNING else None
        for stage in plan.graph.closure(finals, done)
    }


def what_is_left(
    plan: Plan, unfinished: Mapping[str, float | None], estimator: Estimator
) -> dict[str, Left]:
    """Return an estimate of each stage that `unfinished` has told of."""
    return {
        key: estimator.estimate(plan.graph[key], part or 0.0, part is not None)
        for key, part in unfinished.items()
    }


def total(left: Iterable[Left]) -> Amount:
    """Return the sum of what is known."""
    return sum((one.amount for one in left), Amount())


def wall_seconds(left: Mapping[str, Left], estimator: Estimator, slots: int) -> float:
    """Return how long all of it takes at so many slots; what is unknown takes no time here.

    Args:
        left: By key, each stage after those it requires.
        estimator: Says how many slots a stage takes.
        slots: Stages at a time, if each takes one slot.
    """
    missing = {key: {k for k in one.stage.requires if k in left} for key, one in left.items()}
    dependants: dict[str, list[str]] = {key: [] for key in left}
    for key, required in missing.items():
        for other in required:
            dependants[other].append(key)
    chain: dict[str, float] = {}
    for key in reversed(list(left)):
        behind = max((chain[k] for k in dependants[key]), default=0.0)
        chain[key] = left[key].amount.slot_seconds + behind
    # What runs already goes first, then what has the longest chain of others behind it.
    ready = [(not left[k].running, -chain[k], k) for k in left if not missing[k]]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    width = {key: min(slots, estimator.slots(one.stage)) for key, one in left.items()}
    now, free = 0.0, slots
    while ready or running:
        while ready and width[ready[0][2]] <= free:
            key = heapq.heappop(ready)[2]
            free -= width[key]
            heapq.heappush(running, (now + left[key].amount.slot_seconds, key))
        now, key = heapq.heappop(running)
        free += width[key]
        for other in dependants[key]:
            missing[other].discard(key)
            if not missing[other]:
                heapq.heappush(ready, (not left[other].running, -chain[other], other))
    return now
