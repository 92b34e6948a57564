"""One worker's search, turn by turn, on a plan whose stages are written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError
from optuna.samplers import RandomSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study

from im_bench.errors import ImBenchError
from im_bench.files import sealed, write_json
from im_bench.planning.plan import Cell
from im_bench.runner.engines.local import LocalEngine
from im_bench.runner.engines.options import LocalOptions
from im_bench.runner.events import Event, EventKind, Summary
from im_bench.runner.plan_run import PlanRun, Retries
from im_bench.runner.queue import ReadyQueue
from im_bench.runner.store import Status
from im_bench.schedules.base import Schedule
from im_bench.suites.graph import Stage
from im_bench.tuning import search as searching
from im_bench.tuning import storage as storing
from im_bench.tuning.choosing import make_pruner
from im_bench.tuning.search import Search
from im_bench.tuning.session import Choices, define, make_task
from im_bench.tuning.storage import StudyStorage
from im_bench.tuning.study import TrialRecord, TrialState, open_study, records_of

from .conftest import Laboratory

METHODS = (
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "get_all_trials",
    "create_new_trial",
)


class Breakable(InMemoryStorage):
    """A storage that cannot be reached from the n-th change on, or loses the answer to it."""

    left: int | None = None
    only: str | None = None
    after: bool = False


def _breaking(name: str) -> Callable[..., Any]:
    def method(self: Breakable, *arguments: Any, **named: Any) -> Any:
        if self.left is not None and self.only in (None, name):
            self.left -= 1
            if self.left < 0 and self.after:
                getattr(InMemoryStorage, name)(self, *arguments, **named)
            if self.left < 0:
                raise StorageInternalError("connection refused")
        return getattr(InMemoryStorage, name)(self, *arguments, **named)

    return method


for _name in METHODS:
    setattr(Breakable, _name, _breaking(_name))


class Bench:
    """A search and the run that it guides, in which only the test makes anything happen."""

    def __init__(
        self, lab: Laboratory, trials: int = 4, seeds: tuple[int, ...] = (1001,),
        pruner: str = "none", parallel: int = 1, worker: str = "me",
        storage: Breakable | None = None, study: Study | None = None,
        method: str = "fixmatch", space: Path | None = None,
    ) -> None:  # fmt: skip
        if method == "fixmatch":
            space = lab.space
        self.task = make_task(
            lab.suite, method, lab.out, lab.folder, data=["isic"], seeds=seeds, space=space
        )
        self.optuna = storage or Breakable()
        self.storage = StudyStorage(str(lab.folder / "study"), self.optuna, worker)
        lab.exits.enter_context(self.storage)
        definition = define(self.task, Choices(), "iou")
        self.study = study or open_study(self.storage, definition, ["maximize"], "s")
        self.study.sampler = RandomSampler(seed=1)
        self.study.pruner = make_pruner(pruner, 5, len(seeds))
        self.said: list[str] = []
        self.events: list[Event] = []
        engine = LocalEngine(LocalOptions(slots=1, device="cpu"))
        self.run = PlanRun(
            self.task.plan, lab.store, engine, True, self.events.append, Summary(), Retries()
        )
        self.search = Search(
            self.task.plan, self.study, self.storage, self.task.space, self.task.method,
            method, self.task.add_cells, "iou", trials, parallel, pruner, tell=self.said.append,
        )  # fmt: skip

    def turn(self) -> bool:
        self.run.ready = ReadyQueue()  # All that could start has started.
        return self.search(self.run)

    @property
    def records(self) -> list[TrialRecord]:
        self.optuna.left = None
        return records_of(self.study)

    @property
    def states(self) -> list[str]:
        return [record.state.value for record in self.records]

    def write_curve(self, *scores: float) -> Stage:
        """Write what the training of the one trial that runs has reached."""
        (live,) = self.search.live.values()
        folder = self.run.store.prepare(live.current.pilot, self.task.plan.graph)
        lines = [f'{{"iter": {i}, "val/iou": {score}}}' for i, score in enumerate(scores)]
        (folder.path / "scalars.jsonl").write_text("\n".join(lines) + "\n")
        return live.current.pilot

    def finish(self, score: float) -> None:
        """Write the score of the instance of the one trial that runs."""
        (live,) = self.search.live.values()
        stage = self.task.plan.graph[live.current.final]
        folder = self.run.store.prepare(stage, self.task.plan.graph)
        outcome = {"val": {"iou": score}}
        write_json(folder.path / "result.json", sealed({"key": stage.key, "outcome": outcome}))


@pytest.fixture(autouse=True)
def every_turn_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each turn look at the storage."""
    monkeypatch.setattr(searching, "LOOK_SECONDS", 0.0)


def test_a_trial_is_the_mean_of_its_instances_one_after_the_other(lab: Laboratory) -> None:
    bench = Bench(lab, trials=1, seeds=(1001, 1002))
    assert bench.turn()
    (live,) = bench.search.live.values()
    first, second = live.instances
    assert [first.seed, second.seed] == [1001, 1002]
    assert first.final in bench.run.missing
    assert second.final not in bench.run.missing
    bench.finish(0.25)
    assert bench.turn()
    assert second.final in bench.run.missing
    bench.finish(0.5)
    assert not bench.turn()
    (record,) = bench.records
    assert (record.state, record.values) == (TrialState.COMPLETE, (0.375,))


def test_steps_count_on_over_instances(lab: Laboratory) -> None:
    bench = Bench(lab, trials=1, seeds=(1001, 1002), pruner="median")
    bench.turn()
    bench.write_curve(0.2, 0.1)
    bench.turn()
    assert bench.records[0].curve == {1: 0.2, 2: 0.2}, "what the best moment so far is worth"
    bench.finish(0.4)
    bench.turn()
    assert bench.records[0].curve[6] == 0.4
    bench.write_curve(0.2)
    bench.turn()
    assert bench.records[0].curve[7] == pytest.approx(0.3)


@pytest.mark.parametrize("after", [False, True], ids=["lost", "only its answer lost"])
@pytest.mark.parametrize("left", range(4))
@pytest.mark.parametrize("only", [None, *METHODS])
def test_an_outage_at_any_moment_loses_nothing(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, only: str | None, left: int, after: bool
) -> None:
    # Of a trial without a worker nobody can know whether it is about to say so.
    monkeypatch.setattr(storing, "STALE_SECONDS", 0.0)
    bench = Bench(lab, trials=2, seeds=(1001, 1002), pruner="median")
    bench.search._reached = float("-inf")
    bench.optuna.after = after

    def broken_turn() -> None:
        bench.optuna.left, bench.optuna.only = left, only
        bench.turn()
        bench.turn()
        bench.optuna.left = None

    for score in (0.5, 0.25, 0.75, 1.0):
        broken_turn()
        bench.search._reached = float("-inf")
        for _ in range(3):
            bench.turn()
            bench.search._reached = float("-inf")
        bench.write_curve(score / 2)
        broken_turn()
        bench.finish(score)
    broken_turn()
    for _ in range(3):
        more = bench.turn()
        bench.search._reached = float("-inf")
    assert not more, "the search ends"
    counted = [record for record in bench.records if record.counts]
    assert [record.values for record in counted] == [(0.375,), (0.875,)]
    assert bench.said.count("the storage of the study can be reached again") <= 9
    assert not bench.search.failures


def test_an_outage_is_told_once_and_its_end(lab: Laboratory) -> None:
    bench = Bench(lab)
    bench.turn()
    bench.optuna.left = 0
    for _ in range(5):
        assert bench.turn(), "more may come"
    bench.optuna.left = None
    bench.turn()
    assert bench.said[1:] == [
        "the storage of the study cannot be reached (connection refused): what runs goes on, and "
        "its results are told later",
        "the storage of the study can be reached again",
    ]


def test_a_trial_that_another_took_over_is_left_and_its_training_stops(lab: Laboratory) -> None:
    bench = Bench(lab, trials=1, pruner="median")
    bench.turn()
    bench.write_curve(0.5)
    other = StudyStorage(bench.storage.name, bench.optuna, "other")
    other.give_back(bench.study, [0])
    assert bench.states == ["lost", "waiting"]
    bench.turn()
    assert "trial 0: is lost already, as the storage has it" in bench.said
    assert bench.states == ["lost", "running"]
    assert list(bench.search.live) == [1]
    bench.finish(0.5)
    assert not bench.turn()
    assert bench.states == ["lost", "complete"]


def test_what_was_lost_is_queued_once_with_the_same_values(lab: Laboratory) -> None:
    bench = Bench(lab, trials=3)
    bench.turn()
    dead = Bench(lab, worker="dead", storage=bench.optuna, study=bench.study)
    dead.turn()
    dead.storage.__exit__()
    assert bench.states == ["running", "running"]
    before = bench.records[1].params
    assert bench.storage.fail_lost(bench.study, bench.search.live) == [1]
    assert bench.storage.fail_lost(bench.study, bench.search.live) == []
    assert bench.states == ["running", "lost", "waiting"]
    assert bench.records[2].params == before
    assert "worker" not in bench.records[2].attributes, "else its next worker passes for dead"
    assert bench.records[1].reason == "its worker ended; trial 2 goes on for it"


def test_values_that_are_lost_twice_have_one_trial_in_the_end(lab: Laboratory) -> None:
    bench = Bench(lab, trials=1)
    for _ in range(3):
        bench.turn()
        bench.search.give_back()
        bench.search.live.clear()
    bench.turn()
    bench.finish(0.5)
    assert not bench.turn()
    assert bench.states == ["lost", "lost", "lost", "complete"]
    assert {one.reason for one in bench.records[:3]} == {"its worker ended; trial 3 goes on for it"}
    assert len({str(record.params) for record in bench.records}) == 1


def test_of_two_that_ask_for_the_last_trial_one_is_too_many(lab: Laboratory) -> None:
    bench = Bench(lab, trials=1)
    bench.search._look()
    late = Bench(lab, trials=1, worker="late", storage=bench.optuna, study=bench.study)
    late.search._look()
    assert bench.search._begin(bench.run)
    assert not late.search._begin(late.run)
    assert bench.states == ["running", "surplus"]
    assert bench.records[1].reason == "came after the last one"
    assert [record.counts for record in bench.records] == [True, False]


def test_a_failed_stage_fails_the_trials_that_need_it_and_no_other(lab: Laboratory) -> None:
    bench = Bench(lab, trials=2, parallel=2)
    bench.turn()
    bench.turn()
    assert list(bench.search.live) == [0, 1]
    stage = bench.search.live[0].instances[0].pilot
    bench.run._failed(stage, "it broke")
    for event in bench.events:
        bench.search.note(event)
    bench.turn()
    assert bench.states == ["failed", "running"]
    assert bench.records[0].reason == f"{stage.slug}: it broke"
    assert bench.search.failures == [0]
    assert EventKind.SKIPPED in {event.what for event in bench.events}


def test_values_that_are_impossible_together_are_told_and_cost_no_training(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "problem_of", lambda method, values: "too many teachers")
    bench = Bench(lab, trials=2)
    bench.turn()
    bench.turn()
    assert bench.states == ["pruned", "pruned"]
    assert bench.records[0].reason == "impossible: too many teachers"
    assert not bench.run.missing


def test_a_plan_that_refuses_values_fails_their_trial_alone(lab: Laboratory) -> None:
    bench = Bench(lab, trials=2)
    add = bench.search.add_cells

    def refuse(methods: dict[str, Schedule]) -> list[Cell]:
        if "fixmatch-t0" in methods:
            raise ImBenchError("no such values")
        return add(methods)

    bench.search.add_cells = refuse  # type: ignore[assignment]
    bench.turn()
    bench.turn()
    assert bench.states == ["failed", "running"]
    assert bench.records[0].reason == "no such values"
    assert bench.search.failures == [0]


def test_a_pruned_trial_marks_what_will_not_be_made(lab: Laboratory) -> None:
    bench = Bench(lab, trials=6, seeds=(1001, 1002), pruner="median")
    for _ in range(4):
        bench.turn()
        bench.write_curve(0.8, 0.8, 0.8, 0.8, 0.8)
        bench.turn()
        for _ in range(2):
            bench.finish(0.8)
            bench.turn()
    bench.turn()
    (live,) = bench.search.live.values()
    bench.write_curve(0.1, 0.1, 0.1)
    bench.turn()
    assert bench.states[live.trial.number] == "pruned"
    assert "at step 2 of 12, iou 0.1000" in bench.records[live.trial.number].reason
    for instance in live.instances:
        final = bench.task.plan.graph[instance.final]
        assert bench.run.store.status(final) is Status.PRUNED


@pytest.mark.parametrize("method", ["fixmatch", "im", "me", "fixmatch+im"])
def test_who_goes_on_for_a_lost_trial_needs_the_same_stages(lab: Laboratory, method: str) -> None:
    """Students of generations have seeds of their method's name, which is a trial's own."""
    suite = lab.suite.read_text()
    lab.suite.write_text(f"{suite}  im: {{members: 2}}\n  me: {{}}\n  fixmatch+im: {{}}\n")
    if method == "me":
        lab.space.write_text("members: [2, 3]\n")
    bench = Bench(lab, trials=1, method=method, space=lab.space if method == "me" else None)
    needed = []
    for _ in range(3):
        bench.turn()
        (live,) = bench.search.live.values()
        needed.append([instance.final for instance in live.instances])
        bench.search.give_back()
        bench.search.live.clear()
    assert needed[0] == needed[1] == needed[2]
    assert [record.origin for record in bench.records] == [0, 0, 0, 0]
