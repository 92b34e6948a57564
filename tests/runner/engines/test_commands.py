"""The engine that prints commands: what it prints does the work."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from im_bench.runner.attempt import INTERRUPTED
from im_bench.runner.engines.commands import stage_command, waves
from im_bench.runner.store import Status, Store
from im_bench.suites.graph import Graph
from im_bench.suites.resources import Resources

from ..conftest import Run
from ..stage_functions import layered_plan

# The light stage functions are found from the folder of all tests.
_, _, TESTS, ROOT, *_ = Path(__file__).parents
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{ROOT}"}


def test_the_commands_wave_by_wave_are_the_run(store: Store, run: Run) -> None:
    plan = layered_plan(2, 2)
    stages = list(plan.graph)
    said = list(waves(plan, store, stages))
    assert [len(commands) for commands in said] == [1, 2, 2, 1]
    for commands in said:
        for command in reversed(commands):
            done = subprocess.run(shlex.split(command), env=ENVIRONMENT, capture_output=True)
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert {store.status(stage) for stage in stages} == {Status.DONE}
    assert "done in" in store.folder(stages[0]).log.read_text()
    assert list(waves(plan, store, stages)) == []
    summary, _ = run(plan)
    assert (summary.done, summary.present) == ([], len(stages))


def test_what_is_done_is_left_out_and_needs_reach_the_settings(store: Store, run: Run) -> None:
    graph = Graph()
    first = graph.add("add", "first", {"value": 1})
    run(layered_plan(1, 1))  # something else in the same folder
    store.prepare(first, graph)
    needs = Resources(cpus=3, minutes=7)
    graph.add("add", "second", {"value": 2}, {"x": [first]}, needs=needs)
    plan = layered_plan(1, 1)
    assert [len(commands) for commands in waves(plan, store, list(graph))] == [1, 1]
    settings = store.folder(list(graph)[1]).settings()
    assert (settings.threads, settings.minutes) == (3, 7)


def test_a_stage_stops_when_its_lifeline_ends(store: Store) -> None:
    graph = Graph()
    stage = graph.add("add", "one", {"value": 1, "seconds": 60, "steps": 600})
    folder = store.prepare(stage, graph)
    command = stage_command(folder.path, "--log", "--lifeline")
    process = subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.PIPE)
    while folder.progress() is None:
        assert process.poll() is None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait() == INTERRUPTED
    assert "stopped as asked" in folder.log.read_text()
    assert folder.status is Status.PLANNED
