"""Who has room on one machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from im_bench.errors import ImBenchError
from im_bench.runner.engines.base import Task
from im_bench.runner.engines.machine import Machine, Place
from im_bench.runner.folder import StageFolder
from im_bench.suites.resources import Resources


def task(name: str = "x", alone: bool = False, **needs: float) -> Task:
    return Task(StageFolder(Path(name)), Resources(**needs), alone)


def machine(
    gpus: int = 2, per_gpu: int = 4, slots: int | None = None, cores: int = 16, memory: float = 64
) -> Machine:
    return Machine(gpus, per_gpu, slots, cores, memory)


def test_small_trainings_share_gpus_evenly() -> None:
    room = machine()
    assert room.slots == 8
    places = [room.take(task()) for _ in range(8)]
    assert [place.gpus for place in places] == [(0,), (1,)] * 4
    assert {place.cpus for place in places} == {2}
    assert room.find(task()) is None


def test_a_share_takes_as_many_slots_as_it_fills() -> None:
    room = machine(gpus=1)
    assert room.take(task(gpus=0.3)).slots == 2
    assert room.take(task(gpus=0.25)).slots == 1
    assert room.find(task(gpus=0.5)) is None
    assert room.take(task(gpus=0.1)).slots == 1


def test_large_trainings_take_whole_gpus() -> None:
    room = machine()
    small = room.take(task())
    assert room.take(task(gpus=1)).gpus == (1,)
    assert room.find(task(gpus=1)) is None
    room.release(small)
    assert room.find(task(gpus=1)) is not None
    assert machine().take(task(gpus=2)).gpus == (0, 1)
    with pytest.raises(ImBenchError, match="x needs 3 GPUs, and here are 2: give it fewer"):
        machine().find(task(gpus=3))


def test_what_computes_on_cpus_leaves_the_gpus_alone() -> None:
    room = machine()
    place = room.take(task(gpus=0))
    assert place.gpus == ()
    assert all(room.take(task()).gpus for _ in range(7))


def test_without_gpus_the_cores_are_divided() -> None:
    room = machine(gpus=0, per_gpu=1, slots=3, cores=8)
    assert [room.take(task(gpus=1)).cpus for _ in range(3)] == [2, 2, 2]
    assert room.find(task()) is None
    assert machine(gpus=0, cores=8).take(task(cpus=99)).cpus == 8


def test_memory_is_divided_and_what_wants_more_than_there_is_gets_all() -> None:
    room = machine(memory=10)
    first = room.take(task(memory=99))
    assert room.find(task(memory=1)) is None
    assert room.find(task()) is not None
    room.release(first)
    room.take(task(memory=6))
    assert room.find(task(memory=6)) is None


def test_alone_means_a_gpu_or_a_machine_for_oneself() -> None:
    room = machine()
    assert room.take(task(alone=True)).slots == 4
    assert [room.take(task()).gpus for _ in range(4)] == [(1,)] * 4
    assert room.find(task()) is None
    cpus = machine(gpus=0, slots=2)
    other = cpus.take(task())
    assert cpus.find(task(alone=True)) is None
    cpus.release(other)
    cpus.take(task(alone=True))
    assert cpus.find(task()) is None


def test_room_is_kept_for_what_was_overtaken() -> None:
    room = machine()
    places = [room.take(task()) for _ in range(7)]
    large = task("large", gpus=1)
    room.reserve(large)
    assert room._reserved_gpus == (1,)  # which has a free slot, so three must end
    assert room.find(task()) is None
    for place in places:
        if place.gpus == (1,):
            room.release(place)
            assert room.find(task()) is None
    assert room.take(large).gpus == (1,)
    room.release(places[0])
    assert room.find(task()) is not None


def test_on_cpus_everything_waits_for_what_was_overtaken() -> None:
    room = machine(gpus=0, slots=4, cores=4)
    places = [room.take(task()) for _ in range(3)]
    large = task("large", cpus=4)
    room.reserve(large)
    assert room.find(task()) is None
    for place in places:
        room.release(place)
    room.release(room.take(large))
    room.reserve(large)
    room.reserve(None)
    assert room.find(task()) is not None


@pytest.mark.parametrize("gpus", [0, 1])
def test_slots_count_all_stages_whatever_each_needs(gpus: int) -> None:
    room = machine(gpus=gpus, per_gpu=1, slots=1, cores=2)
    small = {"cpus": 1, "gpus": 0}
    place = room.take(task(**small))
    assert room.find(task(**small)) is None
    room.release(place)
    assert room.find(task(**small)) is not None


def test_stages_on_cpus_leave_a_slot_to_what_waits_for_a_gpu() -> None:
    room = machine(gpus=2, per_gpu=2, slots=4)
    places = [room.take(task()) for _ in range(3)]
    large = task("large", gpus=1)
    room.reserve(large)
    assert room.find(task(gpus=0)) is None
    room.release(places[1])
    assert room.find(large) is not None


@given(
    gpus=st.integers(0, 4),
    per_gpu=st.integers(1, 5),
    slots=st.none() | st.integers(1, 9),
    cores=st.integers(1, 12),
    wanted=st.lists(
        st.tuples(
            st.sampled_from([None, 0, 0.1, 0.25, 0.5, 0.7, 1, 2]),
            st.none() | st.integers(1, 20),
            st.none() | st.floats(0.1, 20),
            st.booleans(),
            st.booleans(),
        ),
        max_size=30,
    ),
)
def test_nothing_is_given_twice_and_all_comes_back(gpus, per_gpu, slots, cores, wanted) -> None:
    room = machine(gpus, per_gpu, slots, cores, memory=16)
    empty = (list(room._free_slots), room._free_cpus, room._free_memory)
    most = slots or len(wanted)
    held: list[Place] = []
    for share, cpus, memory, alone, release in wanted:
        if release and held:
            room.release(held.pop(0))
        one = task(gpus=share, cpus=cpus, memory=memory, alone=alone)
        try:
            if room.find(one) is not None:
                held.append(room.take(one))
        except ImBenchError:
            assert share > gpus
        assert len(held) <= most
        assert min(room._free_slots, default=0) >= 0
        assert room._free_cpus >= 0
        assert room._free_memory >= -1e-9
    for place in held:
        room.release(place)
    assert (room._free_slots, room._free_cpus) == empty[:2]
    assert room._free_memory == pytest.approx(empty[2])
    # Whatever can ever run here finds room on the empty machine.
    for share, cpus, memory, alone, _ in wanted:
        if (share or 0) <= max(1, gpus):
            assert room.find(task(gpus=share, cpus=cpus, memory=memory, alone=alone)) is not None


def test_memory_that_comes_back_in_parts_is_whole_again() -> None:
    room = machine(gpus=0, per_gpu=1, slots=4, cores=4, memory=16)
    held = [room.take(task(cpus=1, memory=memory)) for memory in (2.3, 0.1)]
    for place in held:
        room.release(place)
    assert room._free_memory < 16, "16 - 2.3 - 0.1 + 2.3 + 0.1"
    assert room.find(task(cpus=1, memory=16)) is not None


def test_several_gpus_are_not_replaced_by_cpus() -> None:
    with pytest.raises(ImBenchError, match="x needs 4 GPUs, and here are 0"):
        machine(gpus=0).find(task(gpus=4))
    assert machine(gpus=0).find(task(gpus=1)) is not None


def test_each_process_has_a_core() -> None:
    room = machine(gpus=0, slots=16)
    assert room.take(task(processes=4)).cpus == 4
    assert room.take(task(processes=2, cpus=6)).cpus == 6
