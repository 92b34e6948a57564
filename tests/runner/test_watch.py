"""Watching a plan: every change is seen, with few looks."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from im_bench.planning.plan import Plan
from im_bench.runner.attempt import run_attempt
from im_bench.runner.folder import Status
from im_bench.runner.store import Store
from im_bench.runner.watch import Watch
from im_bench.suites.graph import Graph, Stage

from .stage_functions import layered_plan, plan_of


class CountingStore(Store):
    """Counts what is asked of the results folder."""

    def __init__(self, out: Path) -> None:
        super().__init__(out)
        self.read: list[str] = []
        self.asked: list[str] = []

    def status(self, stage: Stage) -> Status:
        self.read.append(stage.slug)
        return super().status(stage)

    def existing(self, stages: Iterable[Stage]) -> list[Stage]:
        stages = list(stages)
        self.asked += [stage.slug for stage in stages]
        return super().existing(stages)

    def forget(self) -> None:
        self.read, self.asked = [], []


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path / "runs")


def make(store: Store, plan: Plan, *slugs: str) -> None:
    for stage in plan.graph:
        if stage.slug in slugs:
            run_attempt(store.prepare(stage, plan.graph).path, threading.Event())


def changes(watch: Watch) -> list[tuple[str, str]]:
    return [(stage.slug, watch.known[stage.key].value) for stage in watch.look()]


def test_sees_what_begins_and_ends(store: CountingStore) -> None:
    plan = layered_plan(width=2, depth=1)
    watch = Watch(plan, store)
    assert (store.read, changes(watch)) == ([], [])
    source = next(iter(plan.graph))
    with store.prepare(source, plan.graph).lock():
        assert changes(watch) == [("source", "running")]
        assert watch.running == [source]
        assert changes(watch) == []
    make(store, plan, "source", "layer0/s0", "layer0/s1")
    assert changes(watch) == [("source", "done"), ("layer0/s0", "done"), ("layer0/s1", "done")]
    assert not watch.finished
    assert watch.counts() == "1 planned, 0 running, 0 failed, 3 done of 4 stages"
    make(store, plan, "sink")
    assert changes(watch) == [("sink", "done")]
    assert watch.finished
    store.forget()
    assert (changes(watch), store.read, store.asked) == ([], [], [])


def test_a_failed_stage_may_be_tried_again(store: CountingStore, tmp_path: Path) -> None:
    graph = Graph()
    unless = tmp_path / "mended"
    config = {"how": "user", "unless": str(unless)}
    plan = plan_of(graph, {"m": graph.add("fail", "bad", config)})
    make(store, plan, "bad")
    watch = Watch(plan, store)
    assert watch.known[next(iter(graph)).key] is Status.FAILED
    unless.touch()
    make(store, plan, "bad")
    assert changes(watch) == [("bad", "done")]


def test_looks_only_at_what_can_have_changed_and_not_at_all_of_that(store: CountingStore) -> None:
    plan = layered_plan(width=12, depth=2)
    make(store, plan, "source", "layer0/s0")
    watch = Watch(plan, store, most=4)
    store.forget()
    seen = set()
    for _ in range(3):
        changes(watch)
        assert len(store.asked) == 4
        assert store.read == []  # None of them has a folder.
        seen |= set(store.asked)
        store.forget()
    # What waits for the rest of its layer was never asked for, and no candidate was left out.
    assert seen == {f"layer0/s{i}" for i in range(1, 12)}
    make(store, plan, "layer0/s7")
    assert [found for _ in range(3) for found in changes(watch)] == [("layer0/s7", "done")]
