"""Plans of light stages, run in real processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from im_bench.errors import ImBenchError
from im_bench.files import sealed, write_json
from im_bench.planning.plan import Plan
from im_bench.runner.attempt import INTERRUPTED, run_attempt
from im_bench.runner.engines.base import Ended, Task
from im_bench.runner.engines.local import LocalEngine
from im_bench.runner.engines.machine import Machine
from im_bench.runner.engines.options import LocalOptions
from im_bench.runner.events import Event, EventKind, Summary
from im_bench.runner.folder import StageFolder
from im_bench.runner.interrupt import StopRequest
from im_bench.runner.job import Settings
from im_bench.runner.locks import Lock
from im_bench.runner.plan_run import PlanRun, Retries
from im_bench.runner.queue import PATIENCE
from im_bench.runner.scheduler import Policy, run_plan
from im_bench.runner.store import Status, Store
from im_bench.suites.graph import Graph, Stage
from im_bench.suites.resources import Resources

from .conftest import Run
from .stage_functions import LIGHT, layered_plan, plan_of


def starts(events: list) -> list[str]:
    return [event.stage.slug for event in events if event.what is EventKind.STARTED]


def test_runs_every_stage_once_and_inputs_first(store: Store, run: Run) -> None:
    plan = layered_plan()
    summary, events = run(plan)
    assert summary.exit_code == 0
    assert len(summary.done) == summary.total == len(plan.graph)
    order = {slug: index for index, slug in enumerate(summary.done)}
    for stage in plan.graph:
        assert all(order[plan.graph[k].slug] < order[stage.slug] for k in stage.requires)
    assert sorted(starts(events)) == sorted(summary.done)
    again, events = run(plan)
    assert again.done == []
    assert again.present == again.total
    assert {event.what for event in events} == {EventKind.PRESENT}


def test_what_only_leads_to_results_that_exist_is_not_run(store: Store, run: Run) -> None:
    plan = layered_plan()
    run(plan)
    source = next(stage for stage in plan.graph if stage.slug == "source")
    store.folder(source).discard()
    summary, _ = run(plan)
    assert summary.done == []


def test_longest_chain_first_then_the_most_shared(store: Store) -> None:
    graph = Graph()
    lonely = graph.add("add", "lonely", {"value": 1})
    rare = graph.add("add", "rare", {"value": 2})
    shared = graph.add("add", "shared", {"value": 3})
    long = graph.add("add", "long", {"value": 4})
    middle = graph.add("add", "middle", {"value": 5}, {"x": [long]})
    finals = {
        "a": lonely,
        "b": graph.add("add", "b", {"value": 6}, {"x": [rare]}),
        "c": graph.add("add", "c", {"value": 7}, {"x": [shared]}),
        "d": graph.add("add", "d", {"value": 8}, {"x": [shared]}),
        "e": graph.add("add", "e", {"value": 9}, {"x": [middle]}),
    }
    events: list = []
    engine = LocalEngine(LocalOptions(slots=1, device="cpu"), LIGHT)
    run_plan(plan_of(graph, finals), store, engine, on_event=events.append)
    assert [s for s in starts(events) if len(s) > 1] == [
        "long",
        "shared",
        "rare",
        "middle",
        "lonely",
    ]


def test_a_failure_stays_with_those_that_need_it(store: Store, run: Run, tmp_path: Path) -> None:
    graph = Graph()
    cure = tmp_path / "cure"
    bad = graph.add("fail", "bad", {"how": "user", "unless": str(cure)})
    next_ = graph.add("add", "next", {"value": 1}, {"x": [bad]})
    finals = {
        "broken": graph.add("add", "last", {"value": 1}, {"x": [next_]}),
        "whole": graph.add("add", "good", {"value": 2}),
    }
    plan = plan_of(graph, finals)
    summary, _ = run(plan)
    assert summary.exit_code == 1
    assert summary.done == ["good"]
    assert summary.failed == {"bad": "the masks are upside down: turn them"}
    assert summary.skipped == {
        "next": "needs bad, which failed",
        "last": "needs bad, which failed",
    }
    assert [store.status(s) for s in (bad, next_)] == [Status.FAILED, Status.PLANNED]

    assert summary.to_correct == {"bad"}

    cure.touch()
    summary, events = run(plan)
    assert starts(events) == ["bad", "next", "last"], "wrong input is read again once corrected"
    assert summary.exit_code == 0
    result = store.result(bad)
    assert result is not None
    assert (result["attempts"], result["restarts"]) == (2, 0)


def test_what_is_no_wrong_input_is_tried_again_on_demand_only(run: Run, tmp_path: Path) -> None:
    graph = Graph()
    cure = tmp_path / "cure"
    bad = graph.add("fail", "bad", {"how": "bug", "unless": str(cure)})
    plan = plan_of(graph, {"a": bad})
    summary, _ = run(plan)
    assert not summary.to_correct
    cure.touch()
    summary, events = run(plan)
    assert starts(events) == []
    assert "--policy retry-failed" in summary.failed["bad"]
    summary, events = run(plan, Policy.RETRY_FAILED)
    assert starts(events) == ["bad"]
    assert summary.exit_code == 0


def test_a_killed_stage_says_so(store: Store, run: Run) -> None:
    graph = Graph()
    killed = graph.add("die", "killed", {})
    summary, _ = run(plan_of(graph, {"a": killed}))
    assert summary.failed["killed"].startswith("killed by signal 9 (SIGKILL); by somebody, or")
    (error,) = store.errors(killed)
    assert error["message"] == summary.failed["killed"]
    assert error["attempt"] == 1
    assert store.status(killed) is Status.FAILED


def test_policy_always_redoes_everything_once(store: Store, run: Run) -> None:
    plan = layered_plan(2, 1)
    run(plan)
    summary, _ = run(plan, Policy.ALWAYS)
    assert sorted(summary.done) == sorted(stage.slug for stage in plan.graph)
    for stage in plan.graph:
        result = store.result(stage)
        assert result is not None
        assert result["attempts"] == 1


def test_a_kill_while_results_are_discarded_leaves_none_that_counts(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = layered_plan(1, 1)
    run(plan)
    sink = next(stage for stage in plan.graph if stage.slug == "sink")
    (store.folder(sink).path / "samples").mkdir()

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("im_bench.runner.folder.shutil.rmtree", killed)
    # Whatever order the folder is listed in, what counts goes first.
    monkeypatch.setattr(Path, "iterdir", lambda path: iter([path / "samples"]))
    with pytest.raises(KeyboardInterrupt):
        store.folder(sink).discard()
    assert store.result(sink) is None


def test_policy_never_runs_nothing(store: Store, run: Run) -> None:
    summary, events = run(layered_plan(1, 1), Policy.NEVER)
    assert events == []
    assert not store.out.exists()
    assert (summary.exit_code, summary.present, summary.total) == (0, 0, 3)


def test_cells_without_data_are_refused_and_others_run(run: Run) -> None:
    graph = Graph()
    stages = {name: graph.add("add", name, {"value": i}) for i, name in enumerate("ab")}
    summary, events = run(plan_of(graph, stages, a="no data set a: prepare it"))
    assert starts(events) == ["b"]
    assert summary.refused == {"d/0.1/a": "no data set a: prepare it"}
    assert summary.exit_code == 1
    with pytest.raises(ImBenchError, match="no data set a: prepare it"):
        run(plan_of(graph, {"a": stages["a"]}, a="no data set a: prepare it"))


def test_a_damaged_result_is_made_again(store: Store, run: Run) -> None:
    plan = layered_plan(1, 1)
    run(plan)
    sink = next(stage for stage in plan.graph if stage.slug == "sink")
    before = store.result(sink)
    path = store.folder(sink).path / "result.json"
    path.write_text(path.read_text()[:40])
    assert store.status(sink) is Status.PLANNED
    summary, events = run(plan)
    (warning,) = [event for event in events if event.what is EventKind.WARNING]
    assert "result.json cannot be read" in warning.detail
    assert summary.done == ["sink"]
    after = store.result(sink)
    assert before is not None
    assert after is not None
    assert after["outcome"] == before["outcome"]


def test_a_damaged_description_of_what_is_done_is_written_again(store: Store, run: Run) -> None:
    plan = layered_plan(2, 1)
    run(plan)
    for stage in plan.graph:
        path = store.folder(stage).path / "stage.json"
        before = path.read_text()
        other = before.replace(f'"key": "{stage.key[:8]}', '"key": "00000000')
        for damaged in ("", before[:40], other):
            path.write_text(damaged)
            summary, _ = run(plan)
            assert (summary.present, summary.done) == (summary.total, [])
            assert path.read_text() == before


def test_another_stage_in_a_folder_is_refused_with_the_difference(store: Store, run: Run) -> None:
    graph = Graph()
    stage = graph.add("add", "one", {"value": 1})
    folder = store.prepare(stage, graph)
    other = {**vars(folder.spec()), "config": {"value": 2}}
    write_json(folder.path / "stage.json", sealed(other))
    with pytest.raises(ImBenchError, match=r'-    "value": 2\n\+    "value": 1'):
        run(plan_of(graph, {"a": stage}))


def test_a_results_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file" / "runs")
    plan = layered_plan(1, 1)
    assert {store.status(stage) for stage in plan.graph} == {Status.PLANNED}
    with pytest.raises(ImBenchError, match=r"file/runs cannot be written \(Not a dir.*--out"):
        run_plan(plan, store, LocalEngine(LocalOptions(slots=1, device="cpu"), LIGHT))


def test_runners_may_begin_at_the_same_time(store: Store) -> None:
    def make() -> None:
        barrier.wait()
        for _ in range(100):
            store.make()

    barrier = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(make) for _ in range(4)]:
            done.result()


def test_a_stage_that_another_process_runs_is_waited_for(store: Store, run: Run) -> None:
    graph = Graph()
    stage = graph.add("add", "busy", {"value": 1})
    plan = plan_of(graph, {"a": stage})
    folder = store.prepare(stage, graph)
    lock = Lock(folder.path / "lock")
    lock.__enter__()
    seen = []

    def release(event: object) -> None:
        seen.append(event.what)  # type: ignore[attr-defined]
        if event.what is EventKind.ELSEWHERE:  # type: ignore[attr-defined]
            assert store.status(stage) is Status.RUNNING
            lock.__exit__(None, None, None)

    summary = run_plan(
        plan, store, LocalEngine(LocalOptions(slots=1, device="cpu"), LIGHT), on_event=release
    )
    assert seen == [EventKind.ELSEWHERE, EventKind.STARTED, EventKind.DONE]
    assert summary.exit_code == 0


class Unhurried:
    """Runs one stage at a time, which ends well although it was asked to stop."""

    def __init__(self) -> None:
        self.running: list[StageFolder] = []
        self.asked = False

    def fits(self, task: Task) -> bool:
        return not self.running

    def reserve(self, task: Task | None) -> None:
        raise AssertionError

    @property
    def busy(self) -> bool:
        return bool(self.running)

    def start(self, task: Task) -> None:
        self.running.append(task.folder)

    def wait(self, timeout: float) -> list[Ended]:
        if not self.asked:
            return []
        folder = self.running.pop()
        write_json(folder.path / "result.json", {"key": folder.spec().key, "outcome": {}})
        return [Ended(folder, 0)]

    def terminate(self) -> None:
        self.asked = True

    def kill(self) -> None:
        self.asked = True

    def close(self) -> None:
        raise AssertionError


@pytest.mark.parametrize("depth", [0, 1])
def test_a_run_that_was_asked_to_stop_is_interrupted_if_anything_is_left(
    store: Store, depth: int
) -> None:
    graph = Graph()
    last = graph.add("add", "first", {"value": 1})
    for d in range(depth):
        last = graph.add("add", f"next{d}", {"value": 1}, {"x": [last]})
    stop = StopRequest()

    def ask(event: Event) -> None:
        stop.count += event.what is EventKind.STARTED

    summary = run_plan(plan_of(graph, {"a": last}), store, Unhurried(), on_event=ask, stop=stop)
    assert summary.done == ["first"]
    assert (summary.interrupted, summary.exit_code) == ((True, 130) if depth else (False, 0))


def tried(
    store: Store, plan: Plan, attempts: int, slots: int = 2
) -> tuple[Summary, list[Event], list[Task]]:
    """Run a plan with hardly any pauses, and return what was started as well."""
    engine = LocalEngine(LocalOptions(slots=slots, device="cpu"), LIGHT)
    events: list[Event] = []
    tasks: list[Task] = []
    start = engine.start

    def spied(task: Task) -> None:
        tasks.append(task)
        start(task)

    engine.start = spied  # type: ignore[method-assign]
    retries = Retries(attempts, pause=0.05)
    return run_plan(plan, store, engine, on_event=events.append, retries=retries), events, tasks


def test_what_may_pass_is_tried_again_and_each_attempt_is_recorded(store: Store) -> None:
    graph = Graph()
    flaky = graph.add("falter", "flaky", {"how": "bug", "times": 2})
    plan = plan_of(graph, {"a": graph.add("add", "next", {"value": 1}, {"x": [flaky]})})
    summary, events, _ = tried(store, plan, attempts=3)
    assert summary.exit_code == 0
    assert summary.done == ["flaky", "next"]
    again = [event.detail for event in events if event.what is EventKind.RETRYING]
    assert again == [f"ValueError: flaky (tried again in {n:.0f} s)" for n in (0.05, 0.15)]
    assert [error["attempt"] for error in store.errors(flaky)] == [1, 2]
    result = store.result(flaky)
    assert result is not None
    assert (result["attempts"], result["restarts"]) == (3, 0)
    assert result["seconds_in_all"] > result["seconds"]


def test_attempts_end_and_waits_grow(store: Store) -> None:
    graph = Graph()
    flaky = graph.add("falter", "flaky", {"how": "bug", "times": 9})
    summary, _, tasks = tried(store, plan_of(graph, {"a": flaky}), attempts=2)
    assert summary.failed == {"flaky": "ValueError: flaky"}
    assert len(tasks) == 2
    assert [Retries().wait(failures) for failures in (1, 2, 3)] == [10, 30, 90]


def test_what_the_user_must_mend_is_not_tried_again(store: Store) -> None:
    graph = Graph()
    bad = graph.add("fail", "bad", {"how": "user"})
    summary, _, tasks = tried(store, plan_of(graph, {"a": bad}), attempts=5)
    assert summary.failed == {"bad": "the masks are upside down: turn them"}
    assert len(tasks) == 1


def test_what_lacks_memory_is_tried_once_more_alone(store: Store) -> None:
    graph = Graph()
    finals = {
        "large": graph.add("falter", "large", {"how": "cuda", "times": 1}),
        "huge": graph.add("falter", "huge", {"how": "cuda", "times": 9}),
        "small": graph.add("add", "small", {"value": 1}),
    }
    summary, events, tasks = tried(store, plan_of(graph, finals), attempts=1)
    assert sorted(summary.done) == ["large", "small"]
    assert "the GPU has too little memory" in summary.failed["huge"]
    alone = [task.folder for task in tasks if task.alone]
    assert sorted(folder.spec().slug for folder in alone) == ["huge", "large"]
    result = store.result(finals["large"])
    assert result is not None
    assert result["outcome"]["threads"] >= len(os.sched_getaffinity(0))
    assert {e.detail.endswith("s, alone)") for e in events if e.what is EventKind.RETRYING} == {
        True
    }


def test_a_limit_of_time_stops_a_stage_and_then_ends_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Graph()
    limit = Resources(minutes=0.005)
    finals = {
        "soft": graph.add("slow", "soft", {"listens": True}, needs=limit),
        "hard": graph.add("slow", "hard", {}, needs=limit),
    }
    engine = LocalEngine(LocalOptions(slots=2, device="cpu"), LIGHT)
    write = StageFolder.write_settings

    def impatient(folder: StageFolder, settings: Settings) -> None:
        write(folder, replace(settings, grace=0.5))

    monkeypatch.setattr(StageFolder, "write_settings", impatient)
    summary = run_plan(plan_of(graph, finals), store, engine, retries=Retries(attempts=3))
    assert "limit of 0.005 minutes, and stopped at its last checkpoint" in summary.failed["soft"]
    assert "limit of 0.005 minutes, and did not stop when asked" in summary.failed["hard"]
    for stage in finals.values():
        (error,) = store.errors(stage)
        assert (error["type"], error["cause"]) == ("TimeLimit", "time")


def test_a_stage_that_somebody_stopped_is_ended_and_runs_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("im_bench.runner.engines.local.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("im_bench.runner.engines.local.STALE_SECONDS", 0.5)
    graph = Graph()
    stage = graph.add("vanish", "one", {})
    summary, events, _ = tried(store, plan_of(graph, {"a": stage}), attempts=1)
    assert summary.done == ["one"]
    (lost,) = [event for event in events if event.what is EventKind.LOST]
    assert "stood still" in lost.detail
    assert store.errors(stage) == []
    result = store.result(stage)
    assert result is not None
    assert (result["attempts"], result["restarts"]) == (2, 1)


def test_a_large_stage_is_not_overtaken_for_ever(store: Store) -> None:
    graph = Graph()
    finals = {
        f"small{i}": graph.add("add", f"small{i}", {"value": i, "seconds": 0.02}) for i in range(60)
    }
    # One core is always busy with a small one when the other becomes free.
    finals["large"] = graph.add("add", "large", {"value": -1}, needs=Resources(cpus=2))
    finals["behind"] = graph.add("add", "behind", {"value": -2}, {"x": [finals["large"]]})
    engine = LocalEngine(LocalOptions(slots=2, device="cpu"), LIGHT)
    engine.machine = Machine(gpus=0, slots_per_gpu=1, slots=2, cores=2, memory=1)
    engine.start(Task(store.prepare(finals["small0"], graph)))
    events: list[Event] = []
    summary = run_plan(plan_of(graph, finals), store, engine, on_event=events.append)
    assert summary.exit_code == 0
    order = starts(events)
    assert order.index("large") <= PATIENCE + 2


class Steered:
    """A guide that acts when what it waits for has happened."""

    def __init__(self, *acts: tuple[Callable[[], bool], Callable[[PlanRun], None]]) -> None:
        self.acts = list(acts)

    def __call__(self, run: PlanRun) -> bool:
        while self.acts and self.acts[0][0]():
            self.acts.pop(0)[1](run)
        return bool(self.acts)


def always() -> bool:
    return True


def steps_of(store: Store, stage: Stage) -> list[list[str]]:
    """Return the steps that a training of the tests has taken, with who took them."""
    path = store.folder(stage).path / "steps.txt"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def steer(
    plan: Plan, store: Store, engine: LocalEngine, guide: Steered
) -> tuple[Summary, list[Event]]:
    events: list[Event] = []
    summary = run_plan(
        plan, store, engine, Policy.RETRY_FAILED, events.append, retries=Retries(1), guide=guide
    )
    return summary, events


def long_training(graph: Graph, slug: str, gate: Path, **inputs: list[Stage]) -> Stage:
    """Return a training that waits half-way until a file exists, or it is asked to stop."""
    return graph.add("train", slug, {"steps": 6, "seconds": 0.01, "gate": str(gate)}, inputs)


def test_a_guide_adds_stages_while_others_run(
    store: Store, engine: LocalEngine, tmp_path: Path
) -> None:
    graph, gate = Graph(), tmp_path / "gate"
    first = long_training(graph, "first", gate)
    plan = plan_of(graph, {})
    added: list[Stage] = []

    def add(run: PlanRun) -> None:
        assert first.key in run.missing
        added.append(graph.add("add", "second", {"value": 2}))
        run.want([added[0].key])
        gate.touch()

    guide = Steered(
        (always, lambda run: run.want([first.key])),
        (lambda: len(steps_of(store, first)) == 3, add),
        (lambda: store.status(added[0]) is Status.DONE, lambda run: run.want([added[0].key])),
    )
    summary, _ = steer(plan, store, engine, guide)
    assert summary.exit_code == 0
    assert sorted(summary.done) == ["first", "second"]
    assert (summary.total, summary.present) == (2, 0), "what this run has done is not counted twice"


def test_a_dropped_training_stops_and_goes_on_from_its_checkpoint_when_wanted(
    store: Store, engine: LocalEngine, tmp_path: Path
) -> None:
    graph, gate = Graph(), tmp_path / "gate"
    training = long_training(graph, "training", gate)
    score = graph.add("add", "score", {"value": 1}, {"below": [training]})
    plan = plan_of(graph, {})

    def again(run: PlanRun) -> None:
        assert {store.status(training), store.status(score)} == {Status.PRUNED, Status.PLANNED}
        assert not store.folder(training).errors()
        gate.touch()
        run.want([score.key])

    guide = Steered(
        (always, lambda run: run.want([score.key])),
        (
            lambda: len(steps_of(store, training)) == 3,
            lambda run: run.drop([training.key, score.key], "it fell behind"),
        ),
        (lambda: store.status(training) is Status.PRUNED, again),
    )
    summary, events = steer(plan, store, engine, guide)
    assert summary.exit_code == 0
    assert sorted(summary.done) == ["score", "training"]
    assert summary.pruned == {}, "it is wanted again"
    told = [(e.stage.slug, e.detail) for e in events if e.what is EventKind.PRUNED]
    assert sorted(told) == [("score", "it fell behind"), ("training", "it fell behind")]
    steps = steps_of(store, training)
    assert [step for step, *_ in steps] == list("012345")
    assert len({pid for _, pid, _ in steps}) == 2
    assert store.status(training) is Status.DONE
    result = store.folder(training).result()
    assert result is not None
    assert (result["attempts"], result["restarts"]) == (2, 1)


def test_what_a_wanted_stage_shares_with_a_dropped_one_goes_on(
    store: Store, engine: LocalEngine, tmp_path: Path
) -> None:
    graph, gate = Graph(), tmp_path / "gate"
    shared = long_training(graph, "shared", gate)
    good, bad = (graph.add("add", s, {"value": v}, {"x": [shared]}) for v, s in enumerate("gb"))
    plan = plan_of(graph, {})

    def drop(run: PlanRun) -> None:
        run.drop([bad.key], "it fell behind")
        gate.touch()

    guide = Steered(
        (always, lambda run: run.want([good.key])),
        (always, lambda run: run.want([bad.key])),
        (lambda: len(steps_of(store, shared)) == 3, drop),
    )
    summary, _ = steer(plan, store, engine, guide)
    assert summary.exit_code == 0
    assert sorted(summary.done) == ["g", "shared"]
    assert summary.pruned == {"b": "it fell behind"}
    assert store.status(bad) is Status.PLANNED
    assert len({pid for _, pid, _ in steps_of(store, shared)}) == 1, "it was not disturbed"


def test_a_stage_that_is_wanted_again_before_it_has_stopped_is_done_once(
    store: Store, engine: LocalEngine, tmp_path: Path
) -> None:
    graph, gate = Graph(), tmp_path / "gate"
    training = long_training(graph, "training", gate)
    score = graph.add("add", "score", {"value": 1}, {"below": [training]})
    plan = plan_of(graph, {})

    def hesitate(run: PlanRun) -> None:
        for _ in range(3):
            run.drop([training.key, score.key], "it fell behind")
            run.want([score.key])
        gate.touch()

    guide = Steered(
        (always, lambda run: run.want([score.key])),
        (lambda: len(steps_of(store, training)) == 3, hesitate),
    )
    summary, events = steer(plan, store, engine, guide)
    assert summary.exit_code == 0
    assert sorted(summary.done) == ["score", "training"]
    assert [step for step, *_ in steps_of(store, training)] == list("012345")
    assert starts(events).count("score") == 1


def test_what_waits_is_dropped_without_a_trace_and_what_others_run_is_left_to_them(
    store: Store, tmp_path: Path
) -> None:
    graph, gate = Graph(), tmp_path / "gate"
    running = long_training(graph, "running", gate)
    waiting = graph.add("add", "waiting", {"value": 1})
    paused = graph.add("falter", "paused", {"how": "cuda", "times": 1})
    theirs = graph.add("add", "theirs", {"value": 2})
    plan = plan_of(graph, {})
    events: list[Event] = []

    def drop(run: PlanRun) -> None:
        run.drop([waiting.key, paused.key, theirs.key], "it fell behind")
        gate.touch()

    guide = Steered(
        (always, lambda run: run.want([paused.key])),
        (lambda: bool(store.folder(paused).errors()), lambda run: run.want([theirs.key])),
        (
            lambda: any(event.what is EventKind.ELSEWHERE for event in events),
            lambda run: run.want([running.key]),
        ),
        (
            lambda: len(steps_of(store, running)) == 3,
            lambda run: run.want([waiting.key]),
        ),
        (always, drop),
    )
    with Lock(store.prepare(theirs, graph).path / "lock"):
        summary = run_plan(
            plan,
            store,
            LocalEngine(LocalOptions(slots=1, device="cpu"), LIGHT),
            Policy.RETRY_FAILED,
            events.append,
            retries=Retries(2, pause=60),
            guide=guide,
        )
        assert store.status(theirs) is Status.RUNNING
        assert store.folder(theirs).pruned is None
    assert (summary.exit_code, summary.done) == (0, ["running"])
    assert sorted(summary.pruned) == ["paused", "theirs", "waiting"]
    assert store.status(waiting) is Status.PLANNED
    assert store.status(paused) is Status.FAILED


def test_a_stage_that_was_pruned_elsewhere_is_taken_up_by_whoever_wants_it(
    store: Store, engine: LocalEngine, tmp_path: Path, run: Run
) -> None:
    graph, gate = Graph(), tmp_path / "gate"
    training = long_training(graph, "training", gate)
    folder = store.prepare(training, graph)
    folder.prune("it fell behind")
    assert folder.status is Status.PRUNED
    assert run_attempt(folder.path, threading.Event()) == INTERRUPTED
    assert not folder.provenances(), "it is not run while nobody wants it"
    gate.touch()
    summary, _ = run(plan_of(graph, {"a": training}))
    assert summary.done == ["training"]
    assert folder.pruned is None


def test_pruned_is_not_failed_and_failed_wins_nothing_by_being_pruned_before(
    store: Store, run: Run
) -> None:
    graph = Graph()
    stage = graph.add("fail", "bad", {"how": "user"})
    run(plan_of(graph, {"a": stage}))
    folder = store.folder(stage)
    assert folder.status is Status.FAILED
    folder.prune("it fell behind")
    assert folder.status is Status.PRUNED
    run(plan_of(graph, {"a": stage}), Policy.RETRY_FAILED)
    assert folder.status is Status.FAILED
    assert len(folder.errors()) == 2
