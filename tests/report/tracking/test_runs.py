"""How far a stage was sent, over restarts of trainings and of the mirror."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import wandb

from im_bench.planning.plan import Plan
from im_bench.report.tracking.cards import Cards
from im_bench.report.tracking.runs import StageMirror
from im_bench.report.tracking.tracker import Tracker
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage

from ..results import leave_training
from .wandb_reader import OfflineRun, payloads, read_runs

SLUG = "isic/0.1/s1/ldt/member1"


@pytest.fixture
def member(plan: Plan) -> Stage:
    return next(one for one in plan.graph if one.slug == SLUG)


def fresh_mirror(plan: Plan, store: Store) -> StageMirror:
    """Return a mirror that knows only what lies on disk."""
    card = Cards(plan).card(next(one for one in plan.graph if one.slug == SLUG))
    assert card is not None
    return StageMirror(card, store.stages, Tracker(store.out))


def written(out: Path) -> list[OfflineRun]:
    """Return all offline runs, after the service has written what it was told."""
    wandb.teardown()
    return read_runs(out)


def curve(store: Store, name: str) -> list[int]:
    return [row["iter"] for run in written(store.out) for row in run.history if name in row]


def test_a_resumed_training_continues_its_curves(plan: Plan, store: Store, member: Stage) -> None:
    with store.prepare(member, plan.graph).lock():
        leave_training(store, plan, member, range(1, 51), done=False)
        first = fresh_mirror(plan, store)
        first.update()
        assert first.is_open
        leave_training(store, plan, member, range(1, 61), done=False)
        first.update()
        first.close()
    # The training goes back to its last checkpoint, and so does its file.
    leave_training(store, plan, member, range(1, 41), done=False)
    with store.folder(member).lock():
        second = fresh_mirror(plan, store)
        second.update()
        assert not second.is_open
        leave_training(store, plan, member, range(1, 81))
    second.update()
    assert second.finished
    assert curve(store, "train/loss") == list(range(1, 81))
    assert curve(store, "val/iou") == list(range(10, 81, 10))
    runs = read_runs(store.out)
    assert [run.exit_code for run in runs] == [1, 0]
    assert {run.id for run in runs} == {member.key[:16]}
    # Of loss, validation and samples, before and after: every row stands on the one axis.
    assert all("iter" in row for run in runs for row in run.history)
    assert all(run.metrics["*"] == "iter" for run in runs)
    assert all(run.resume for run in runs)  # So that `wandb sync` appends the second part.


def test_a_line_that_is_still_being_written_waits(plan: Plan, store: Store, member: Stage) -> None:
    folder = store.prepare(member, plan.graph)
    scalars = folder.path / "scalars.jsonl"
    with folder.lock():
        mirror = fresh_mirror(plan, store)
        scalars.write_text('{"iter": 1, "train/loss": 0.5}\n{"iter": 2, "tra')
        mirror.update()
        scalars.write_text('{"iter": 1, "train/loss": 0.5}\n{"iter": 2, "train/loss": 0.25}\n')
        mirror.update()
        scalars.write_text(scalars.read_text() + '{"iter": 2, "val/iou": 0.7}\n')
        mirror.update()
        mirror.close()
    assert curve(store, "train/loss") == [1, 2]
    assert curve(store, "val/iou") == [2]


def test_a_failed_training_closes_its_run_and_a_retry_goes_on(
    plan: Plan, store: Store, member: Stage
) -> None:
    folder = store.prepare(member, plan.graph)
    mirror = fresh_mirror(plan, store)
    with folder.lock():
        leave_training(store, plan, member, range(1, 6), done=False)
        mirror.update()
    folder.record_error(1, type="ValueError", message="no")
    mirror.update()
    assert not mirror.is_open
    leave_training(store, plan, member, range(1, 11))
    mirror.update()
    assert mirror.finished
    assert curve(store, "train/loss") == list(range(1, 11))
    assert next(run for run in read_runs(store.out) if run.exit_code).summary["failure"] == "no"


def test_a_run_that_may_not_open_waits_until_the_stage_is_done(
    plan: Plan, store: Store, member: Stage
) -> None:
    mirror = fresh_mirror(plan, store)
    with store.prepare(member, plan.graph).lock():
        leave_training(store, plan, member, range(1, 6), done=False)
        mirror.update(may_open=False)
        assert not mirror.is_open
    leave_training(store, plan, member, range(1, 11))
    mirror.update(may_open=False)
    assert mirror.finished
    assert curve(store, "train/loss") == list(range(1, 11))


def test_the_reader_joins_fragments_and_stops_at_a_torn_tail(tmp_path: Path) -> None:
    text = "".join(random.Random(0).choices("abcdefgh", k=100_000))
    with wandb.init(mode="offline", dir=str(tmp_path), id="long", reinit="create_new") as run:
        run.log({"text": text, "iter": 1})
    (found,) = written(tmp_path)
    assert any(row.get("text") == text for row in found.history)
    content = next(found.folder.glob("*.wandb")).read_bytes()
    whole = list(payloads(content))
    assert list(payloads(content[:-3])) == whole[:-1]
    torn = list(payloads(content[: len(content) // 2]))
    assert torn == whole[: len(torn)]
    assert len(torn) < len(whole)
