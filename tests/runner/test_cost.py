"""Estimates of what is left, from real stage folders whose times are set to known ones."""

from __future__ import annotations

import pytest

from im_bench.files import read_json, write_json
from im_bench.planning.plan import Plan
from im_bench.runner.cost import (
    Basis,
    Estimator,
    Left,
    devices_of,
    measure,
    nearest_device,
    total,
    unfinished,
    wall_seconds,
    what_is_left,
)
from im_bench.runner.store import Store
from im_bench.suites.graph import Coordinates, Graph, Stage
from im_bench.suites.resources import ANY, Resources

from .conftest import Run
from .rewriting import rewrite
from .stage_functions import plan_of

CPU, GPU = "AMD EPYC, 2 cores", "NVIDIA H100"


def add(graph: Graph, slug: str, *inputs: Stage, needs: Resources = ANY) -> Stage:
    kind = "tell" if slug.endswith("scores") else "add"
    data, split, seed, method, name = (slug.split("/") + [""] * 4)[:5]
    at = slug if not method else Coordinates(name, data, split, int(seed[1:]), method)
    return graph.add(kind, at, {"value": 1, "slug": slug}, {"below": inputs}, needs=needs)


def took(store: Store, stage: Stage, seconds: float, device: str = CPU, threads: int = 1) -> None:
    """Say that a stage that is done took so long there."""
    path = store.folder(stage).path
    rewrite(path / "result.json", seconds_in_all=seconds)
    origin = read_json(path / "provenance-1.json")
    write_json(path / "provenance-1.json", {**origin, "device": device, "threads": threads})


@pytest.fixture
def graph() -> Graph:
    return Graph()


def left_of(plan: Plan, store: Store, by: Estimator) -> dict[str, Left]:
    return what_is_left(plan, unfinished(plan, store), by)


def estimator(store: Store, graph: Graph, device: str = CPU, slots_per_gpu: int = 1) -> Estimator:
    measured, _ = measure(graph, store)
    return Estimator(measured, device, CPU, slots_per_gpu)


def test_the_nearest_done_stages_count(store: Store, run: Run, graph: Graph) -> None:
    done = {"d/0.1/s1/m/a": 10, "d/0.1/s2/m/a": 30, "d/0.1/s1/n/a": 200, "e/0.1/s1/m/a": 1000}
    assert run(plan_of(graph, {slug: add(graph, slug) for slug in done}))[0].exit_code == 0
    for stage in graph:
        took(store, stage, done[stage.slug])
    like = {
        "d/0.1/s3/m/b": (Basis.METHOD, 20),
        "d/0.1/s1/o/a": (Basis.DATA, 80),
        "f/0.1/s1/m/a": (Basis.KIND, 310),
        "d/0.1/s1/m/scores": (Basis.UNKNOWN, 0),
    }
    plan = plan_of(graph, {slug: add(graph, slug) for slug in (*like, *done)})
    left = left_of(plan, store, estimator(store, graph))
    said = {one.stage.slug: (one.basis, one.amount.slot_seconds) for one in left.values()}
    assert said == like
    assert total(left.values()).slot_seconds == pytest.approx(410)
    assert total(left.values()).gpu_seconds == 0


def test_what_a_done_stage_needed_is_not_needed_any_more(
    store: Store, run: Run, graph: Graph
) -> None:
    below = add(graph, "d/0.1/s1/m/a")
    final = add(graph, "d/0.1/s1/m/b", below)
    plan = plan_of(graph, {"m": final})
    run(plan)
    (store.folder(below).path / "result.json").unlink()
    assert left_of(plan, store, estimator(store, graph)) == {}


def test_of_a_running_stage_the_rest_counts(store: Store, run: Run, graph: Graph) -> None:
    done, runs = add(graph, "d/0.1/s1/m/a"), add(graph, "d/0.1/s2/m/a")
    run(plan_of(graph, {"m": done}))
    took(store, done, 40)
    folder = store.prepare(runs, graph)
    write_json(folder.path / "progress.json", {"step": 3, "total": 4})
    plan = plan_of(graph, {"m": runs})
    with folder.lock():
        (left,) = left_of(plan, store, estimator(store, graph)).values()
        assert (left.running, left.amount.slot_seconds) == (True, 10)
    # It starts anew, as far as is known: its checkpoint may be older than its last progress.
    (left,) = left_of(plan, store, estimator(store, graph)).values()
    assert (left.running, left.amount.slot_seconds) == (False, 40)


def test_devices_are_not_mixed_and_shares_of_a_gpu_count(
    store: Store, run: Run, graph: Graph
) -> None:
    cpu, gpu = add(graph, "d/0.1/s1/m/a"), add(graph, "d/0.1/s2/m/a")
    mixed = add(graph, "d/0.1/s4/m/a")
    never = add(graph, "d/data", needs=Resources(gpus=0))
    run(plan_of(graph, {s.slug: s for s in (cpu, gpu, mixed, never)}))
    took(store, cpu, 100, CPU, threads=2)
    took(store, gpu, 8, GPU, threads=4)
    took(store, mixed, 9999, GPU)
    took(store, never, 7, CPU)
    origin = store.folder(mixed).path / "provenance-2.json"
    write_json(origin, {"device": CPU, "threads": 1})

    measured, without = measure(graph, store)
    assert without == [mixed]
    assert sorted(devices_of(measured, gpu=True)) == [CPU, GPU]
    assert devices_of(measured, gpu=False) == [CPU]

    slot = add(graph, "d/0.1/s3/m/a")
    half = add(graph, "d/0.1/s5/m/a", needs=Resources(gpus=0.5))
    two = add(graph, "d/0.1/s6/m/a", needs=Resources(gpus=2))
    other = add(graph, "e/data", needs=Resources(gpus=0))
    plan = plan_of(graph, {s.slug: s for s in (slot, half, two, other)})
    on_gpu = estimator(store, graph, GPU, slots_per_gpu=4)
    left = left_of(plan, store, on_gpu)
    assert [left[s.key].amount.gpu_seconds for s in (slot, half, two, other)] == [2, 4, 16, 0]
    assert [left[s.key].amount.slot_seconds for s in (slot, half, two, other)] == [8, 8, 8, 7]
    assert left[slot.key].amount.core_seconds == 32
    assert [on_gpu.slots(s) for s in (slot, half, two, other)] == [1, 2, 8, 1]

    amount = total(left_of(plan, store, estimator(store, graph)).values())
    assert (amount.slot_seconds, amount.gpu_seconds, amount.core_seconds) == (307, 0, 607)


def test_the_device_that_is_here_goes_first() -> None:
    assert nearest_device([CPU, GPU], [GPU, CPU]) == GPU
    assert nearest_device([CPU, GPU], ["another"]) == CPU
    assert nearest_device([], [CPU]) is None


@pytest.mark.parametrize(("slots", "seconds"), [(1, 60), (2, 40), (3, 30), (9, 30)])
def test_wall_time_keeps_the_order_and_the_slots(
    slots: int, seconds: float, store: Store, run: Run, graph: Graph
) -> None:
    done = add(graph, "d/0.1/s1/m/a")
    run(plan_of(graph, {"m": done}))
    took(store, done, 10)
    first = add(graph, "d/0.1/s2/m/a")
    middle = [add(graph, f"d/0.1/s2/m/b{i}", first) for i in range(3)]
    last = add(graph, "d/0.1/s2/m/c", *middle)
    plan = plan_of(graph, {"m": last, "n": add(graph, "d/0.1/s9/m/a")})
    by = estimator(store, graph)
    assert wall_seconds(left_of(plan, store, by), by, slots) == seconds


def test_nothing_measured_is_unknown(store: Store, graph: Graph) -> None:
    plan: Plan = plan_of(graph, {"m": add(graph, "d/0.1/s1/m/a")})
    by = Estimator([], None, None)
    left = left_of(plan, store, by)
    assert [one.basis for one in left.values()] == [Basis.UNKNOWN]
    assert wall_seconds(left, by, 2) == 0
