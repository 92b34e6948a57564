"""Which stages one machine has room for: GPUs in slots, CPU cores and memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from im_bench.errors import ImBenchError
from im_bench.runner.engines.base import Task

#: GiB by which numbers of memory may differ and count as equal.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Place:
    """What a running stage occupies.

    Attributes:
        gpus: Indices of its GPUs.
        slots: How many slots it has of each of them.
        cpus: CPU cores, which is the number of its threads.
        memory: GiB of main memory.
    """

    gpus: tuple[int, ...]
    slots: int
    cpus: int
    memory: float


class Machine:
    """Room on one machine, given away and taken back.

    Args:
        gpus: How many GPUs there are; with none, stages run on CPUs whatever GPU they need.
        slots_per_gpu: Slots into which each is divided.
        slots: Stages at a time in all, whatever each needs. Default: as many as the GPUs' slots, or
            the cores where there is no GPU, have room for.
        cores: CPU cores.
        memory: GiB of main memory.
    """

    def __init__(
        self, gpus: int, slots_per_gpu: int, slots: int | None, cores: int, memory: float
    ) -> None:
        count = slots or gpus * slots_per_gpu or cores
        if gpus:  # more slots than the GPUs were divided into divide them further
            slots_per_gpu = max(slots_per_gpu, math.ceil(count / gpus))
        self.slots = count
        self.threads = max(1, cores // count)
        self._slots_per_gpu = slots_per_gpu
        self._gpu_slots = [min(slots_per_gpu, math.ceil((count - i) / gpus)) for i in range(gpus)]
        self._free_slots = list(self._gpu_slots)
        self._cpus = self._free_cpus = max(cores, count * self.threads)
        if not gpus:
            self._cpus = self._free_cpus = count * self.threads
        self._memory = self._free_memory = memory
        self._free_stages = math.inf if slots is None else slots
        self._reserved: Task | None = None
        self._reserved_gpus: tuple[int, ...] = ()

    def find(self, task: Task) -> Place | None:
        """Return a place for the task, or None while there is none.

        Raises:
            ImBenchError: The machine is too small for it, even empty.
        """
        needs = task.needs
        cpus = min(needs.cpus or max(self.threads, needs.workers), self._cpus)
        memory = min(needs.memory or 0.0, self._memory)
        gpus, slots = self._gpus_for(task)
        if task.alone and not gpus:
            cpus, memory = self._cpus, self._memory
        # What is given back in parts may lack the last digit of what was there.
        if cpus > self._free_cpus or memory > self._free_memory + TOLERANCE:
            return None
        overtakes = self._reserved is not None and task != self._reserved
        if overtakes and not self._reserved_gpus:
            return None
        if self._free_stages < (2 if overtakes else 1):  # one is kept for the reserved task
            return None
        chosen = self._choose(task, gpus, slots)
        return None if chosen is None else Place(chosen, slots, cpus, memory)

    def take(self, task: Task) -> Place:
        """Occupy a place for a task that has one.

        Raises:
            ImBenchError: There is none.
        """
        place = self.find(task)
        if place is None:
            raise ImBenchError(f"there is no free slot for {task.folder.path}")
        self._add(place, -1)
        if task == self._reserved:
            self.reserve(None)
        return place

    def release(self, place: Place) -> None:
        """Give a place back."""
        self._add(place, 1)

    def reserve(self, task: Task | None) -> None:
        """Keep others off the GPUs that are nearest to having room for this task, or off none.

        Where CPUs are what it lacks, no other task is placed until it fits.
        """
        if task != self._reserved:
            gpus = self._gpus_for(task)[0] if task else 0
            self._reserved, self._reserved_gpus = task, tuple(self._freest()[:gpus])

    def _gpus_for(self, task: Task) -> tuple[int, int]:
        """Return how many GPUs a task takes, and how many slots of each."""
        there, share = len(self._gpu_slots), task.needs.gpus
        if share is not None and share > max(1, there):
            raise ImBenchError(
                f"{task.folder.path.name} needs {share:g} GPUs, and here are {there}: give it "
                "fewer in the suite's `resources`, or run on a larger machine"
            )
        if not there or share == 0:
            return 0, 0
        if task.alone or (share is not None and share >= 1):
            return max(1, int(share or 1)), self._slots_per_gpu
        # Tolerant of shares like 0.1 + 0.2.
        return 1, 1 if share is None else max(1, math.ceil(share * self._slots_per_gpu - 1e-9))

    def _choose(self, task: Task, gpus: int, slots: int) -> tuple[int, ...] | None:
        """Return the freest GPUs that have room, which spreads the work."""
        if not gpus:
            return ()
        allowed = [
            i
            for i in self._freest()
            if self._free_slots[i] >= min(slots, self._gpu_slots[i])
            and (task == self._reserved or i not in self._reserved_gpus)
        ]
        return tuple(allowed[:gpus]) if len(allowed) >= gpus else None

    def _freest(self) -> list[int]:
        return sorted(range(len(self._free_slots)), key=lambda i: (-self._free_slots[i], i))

    def _add(self, place: Place, sign: int) -> None:
        for gpu in place.gpus:
            self._free_slots[gpu] += sign * min(place.slots, self._gpu_slots[gpu])
        self._free_stages += sign
        self._free_cpus += sign * place.cpus
        self._free_memory += sign * place.memory
