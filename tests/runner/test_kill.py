"""Runners that are killed, that meet, and that are asked to stop."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from im_bench.planning.plan import Plan
from im_bench.runner.store import Store

from .stage_functions import layered_plan

SECONDS = 0.15  # that a stage lasts
PACKAGE = str(__package__)
ABOVE = Path(__file__).parents[PACKAGE.count(".") + 1]


def start(
    out: Path, slots: int = 2, seconds: float = SECONDS, *size: int
) -> subprocess.Popen[bytes]:
    """Start a runner of a layered plan in a process group of its own."""
    words = [sys.executable, "-m", f"{PACKAGE}.driver", out, slots, seconds, *size]
    return subprocess.Popen(
        list(map(str, words)), cwd=ABOVE, stdout=subprocess.DEVNULL, start_new_session=True
    )


def wait_until(condition: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def outcomes(store: Store, plan: Plan) -> dict[str, Any]:
    found = {}
    for stage in plan.graph:
        result = store.result(stage)
        assert result is not None, stage.slug
        found[stage.slug] = result["outcome"]["value"]
    return found


def processes_of(out: Path) -> list[int]:
    """Return the processes whose output goes to, or whose arguments name, the results folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = str(out) in (folder / "cmdline").read_text()
            ours = ours or str(out) in str((folder / "fd" / "1").readlink())
        except OSError:
            continue
        if ours:
            found.append(int(folder.name))
    return found


def test_killed_at_twenty_moments_ends_with_the_same_results(store: Store) -> None:
    plan = layered_plan(6, 6, seconds=SECONDS, steps=5)
    assert len(plan.graph) == 38
    other = Store(store.out.with_name("undisturbed"))
    undisturbed = start(other.out, 2)
    draw = random.Random(20)
    finished: dict[str, str] = {}
    amid = 0
    for _ in range(20):
        begun = attempts(store, plan)
        runner = start(store.out, 3)
        # A random moment after work began, or before: machines differ, so it is no fixed time.
        if draw.random() < 0.8:
            wait_until(
                lambda begun=begun, runner=runner: (
                    attempts(store, plan) > begun or runner.poll() is not None
                )
            )
        time.sleep(draw.uniform(0, 2 * SECONDS))
        runner.kill()
        runner.wait()
        for stage in plan.graph:
            if store.result(stage) is not None:
                text = (store.folder(stage).path / "result.json").read_text()
                assert finished.setdefault(stage.slug, text) == text
        amid += 0 < len(finished) < len(plan.graph)
    assert amid >= 10, "most kills came before or after the work"
    assert start(store.out, 3).wait() == 0
    assert undisturbed.wait() == 0
    assert outcomes(store, plan) == outcomes(other, plan)
    restarts = 0
    for stage in plan.graph:
        folder = store.folder(stage)
        text = (folder.path / "result.json").read_text()
        assert finished.get(stage.slug, text) == text
        lines = (folder.path / "starts.txt").read_text().splitlines()
        assert not any(line.endswith("True") for line in lines), "ran again after it was done"
        result = folder.result()
        assert result is not None
        assert result["attempts"] == folder.attempts
        assert result["restarts"] == result["attempts"] - 1
        restarts += result["restarts"]
    assert restarts > 0


def attempts(store: Store, plan: Plan) -> int:
    """Count the attempts at all stages so far."""
    return sum(store.folder(stage).attempts for stage in plan.graph)


def test_two_runners_share_the_work(store: Store) -> None:
    plan = layered_plan(4, 3, seconds=0.05, steps=5)
    both = [start(store.out, 2, 0.05, 4, 3) for _ in range(2)]
    assert [runner.wait() for runner in both] == [0, 0]
    for stage in plan.graph:
        assert len((store.folder(stage).path / "starts.txt").read_text().splitlines()) == 1


def wait_for_layer(store: Store, width: int) -> None:
    """Wait until the stages of the first layer are at work."""
    wait_until(lambda: len(list(store.stages.glob("layer0/*/starts.txt"))) == width)


def test_stages_do_not_outlive_a_killed_runner(store: Store) -> None:
    runner = start(store.out, 1, 5, 1, 1)
    wait_for_layer(store, 1)
    runner.kill()
    runner.wait()
    wait_until(lambda: not processes_of(store.out))
    (log,) = store.stages.glob("layer0/*/log.txt")
    assert "stopped as asked" in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_a_runner_stops_its_stages_cleanly(
    store: Store, number: signal.Signals
) -> None:
    runner = start(store.out, 2, 5, 2, 1)
    wait_for_layer(store, 2)
    os.killpg(runner.pid, number)
    assert runner.wait(20) == 130
    assert not processes_of(store.out)
    assert not list(store.stages.glob("**/lock"))
    assert not list(store.stages.glob("**/error-*.json"))
    for log in store.stages.glob("layer0/*/log.txt"):
        assert "stopped as asked" in log.read_text()
