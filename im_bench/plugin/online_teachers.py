"""Teachers that come from the training itself: averages and snapshots of the student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.runner.checkpoint import weights_to_cpu
from typing_extensions import override

from im_bench.errors import ImBenchError
from im_bench.plugin.networks import Student
from im_bench.plugin.teachers import TEACHERS, Teacher, TeacherEnsemble, check_count
from im_bench.semi.ema import averaged_copy, update_average


class OnlineTeachers(TeacherEnsemble):
    """Copies of the student, made while it is trained.

    Attributes:
        steps: Steps of the optimiser so far.
    """

    online = True

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def __str__(self) -> str:
        return f"{len(self.teachers)} copies of the student, {self.steps} optimiser steps old"

    @override
    def state_dict(self) -> dict[str, Any]:
        networks = [weights_to_cpu(teacher.network.state_dict()) for teacher in self.teachers]
        return {"steps": self.steps, "networks": networks}

    @override
    def load_state_dict(self, state: Mapping[str, Any], student: Student) -> None:
        self.steps = state["steps"]
        self.teachers = [self._copy(student) for _ in state["networks"]]
        for teacher, weights in zip(self.teachers, state["networks"], strict=True):
            teacher.network.load_state_dict(weights)

    def _copy(self, student: Student) -> Teacher:
        return Teacher(averaged_copy(student.network), student)


@TEACHERS.register_module()
class EmaTeachers(OnlineTeachers):
    """Exponential moving averages of the student, one for each decay.

    The decay is at most ``1 - 1 / (step + 1)``, so that the random first weights are soon forgotten
    (Tarvainen and Valpola, "Mean teachers", arXiv 1703.01780). Buffers are averaged too.

    Args:
        decays: At least two, each above 0 and below 1.

    Raises:
        ImBenchError: A decay is out of range, or there is only one.
    """

    def __init__(self, decays: Sequence[float] = (0.99, 0.996, 0.999)) -> None:
        super().__init__()
        check_count(len(decays), "decays")
        for decay in decays:
            if not 0 < decay < 1:
                raise ImBenchError(f"a decay of EmaTeachers lies between 0 and 1, not {decay}")
        self.decays = tuple(decays)

    @override
    def prepare(self, student: Student) -> None:
        self.teachers = [self._copy(student) for _ in self.decays]

    @override
    def after_step(self, student: Student) -> None:
        self.steps += 1
        for teacher, decay in zip(self.teachers, self.decays, strict=True):
            decay = min(decay, 1 - 1 / (self.steps + 1))
            update_average(teacher.network, student.network, decay)

    @override
    def load_state_dict(self, state: Mapping[str, Any], student: Student) -> None:
        if len(state["networks"]) != len(self.decays):
            raise ImBenchError(
                f"the checkpoint holds {len(state['networks'])} EMA teachers, the config names "
                f"{len(self.decays)} decays: resume with the same decays"
            )
        super().load_state_dict(state, student)


@TEACHERS.register_module()
class SnapshotTeachers(OnlineTeachers):
    """Frozen copies of the student, taken again and again; the newest replaces the oldest.

    There are no pseudo-labels before the second one.

    Args:
        count: How many are kept, at least two.
        interval: Steps of the optimiser between two.

    Raises:
        ImBenchError: A number is too small.
    """

    def __init__(self, count: int = 3, interval: int = 1000) -> None:
        super().__init__()
        check_count(count, "snapshots")
        if interval < 1:
            raise ImBenchError(f"the interval of SnapshotTeachers is at least 1, not {interval}")
        self.count = count
        self.interval = interval

    @override
    def prepare(self, student: Student) -> None:
        self.teachers = []

    @override
    def after_step(self, student: Student) -> None:
        self.steps += 1
        if self.steps % self.interval:
            return
        if len(self.teachers) < self.count:
            self.teachers.append(self._copy(student))
            return
        oldest = self.teachers.pop(0)
        update_average(oldest.network, student.network, decay=0)
        self.teachers.append(oldest)
