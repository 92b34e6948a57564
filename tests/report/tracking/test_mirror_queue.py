"""Which stages are looked at, and how often."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import pytest

from im_bench.planning.plan import Plan
from im_bench.report.tracking.cards import Cards, StageCard
from im_bench.report.tracking.mirror import read_sent
from im_bench.report.tracking.mirror_queue import StageQueue
from im_bench.report.tracking.runs import StageMirror
from im_bench.report.tracking.tracker import Tracker
from im_bench.runner.store import Store

from ..results import leave_training


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the stages that were looked at, in order."""
    seen: list[str] = []
    update = StageMirror.update

    def watched(self: StageMirror, may_open: bool = True) -> None:
        seen.append(self.card.id)
        update(self, may_open)

    monkeypatch.setattr(StageMirror, "update", watched)
    return seen


@pytest.fixture
def queue(store: Store, monkeypatch: pytest.MonkeyPatch) -> StageQueue:
    monkeypatch.setenv("WANDB_MODE", "offline")
    (store.out / "wandb").mkdir(parents=True)
    return StageQueue(store.stages, Tracker(store.out), False, store.out / "wandb" / "sent.txt")


def cards_of(plan: Plan, count: int) -> list[StageCard]:
    cards = Cards(plan)
    return [card for stage in plan.graph if (card := cards.card(stage))][:count]


def told(queue: StageQueue, what: str, *cards: StageCard) -> None:
    for card in cards:
        queue.note({"what": what, "id": card.id, "card": asdict(card)})


def never() -> bool:
    return False


def test_looks_are_bounded_and_go_round(plan: Plan, queue: StageQueue, looks: list[str]) -> None:
    running = cards_of(plan, 10)
    told(queue, "started", *running)
    for _ in range(5):
        assert queue.look(4, never) == 0
    assert len(looks) == 20
    assert set(Counter(looks).values()) == {2}


def test_what_was_just_told_is_looked_at_first(
    plan: Plan, queue: StageQueue, looks: list[str]
) -> None:
    running = cards_of(plan, 10)
    told(queue, "started", *running)
    told(queue, "done", running[3])
    queue.look(1, never)
    assert looks == [running[3].id]


def test_what_earlier_runs_left_is_looked_at_once(
    plan: Plan, queue: StageQueue, looks: list[str]
) -> None:
    first, *rest = cards_of(plan, 10)
    told(queue, "started", first)
    told(queue, "present", *rest)
    for _ in range(3):
        left = queue.look(5, never)
        queue.look_back(left, never)
    counts = Counter(looks)
    assert counts.pop(first.id) == 3
    assert counts == {card.id: 1 for card in rest}


def test_a_stage_that_is_about_to_start_is_not_forgotten(
    plan: Plan, store: Store, queue: StageQueue, looks: list[str]
) -> None:
    (card,) = cards_of(plan, 1)
    stage = next(one for one in plan.graph if one.slug == card.slug)
    told(queue, "started", card)
    queue.look(5, never)  # Its process is not up: nothing says that it runs but the runner.
    with store.prepare(stage, plan.graph).lock():
        leave_training(store, plan, stage, range(1, 6), done=False)
        queue.look(5, never)
        leave_training(store, plan, stage, range(1, 11))
    told(queue, "done", card)
    queue.look(5, never)
    assert len(looks) == 3
    assert read_sent(store.out / "wandb" / "sent.txt") == {card.id}
    assert queue.look(5, never) == 5
