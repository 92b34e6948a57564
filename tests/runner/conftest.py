"""Fixtures for tests that run stages in real processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from im_bench.planning.plan import Plan
from im_bench.runner.engines.local import LocalEngine
from im_bench.runner.engines.options import LocalOptions
from im_bench.runner.events import Event, Summary
from im_bench.runner.plan_run import Retries
from im_bench.runner.scheduler import Policy, run_plan
from im_bench.runner.store import Store
from im_bench.suites.recipes import RECIPES

from .stage_functions import KINDS, LIGHT


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the light stage functions known."""
    for name, recipe in KINDS.items():
        monkeypatch.setitem(RECIPES, name, recipe)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty results folder."""
    return Store(tmp_path / "runs")


@pytest.fixture
def engine() -> LocalEngine:
    """Two slots, without the heavy imports."""
    return LocalEngine(LocalOptions(slots=2, device="cpu"), LIGHT)


Run = Callable[..., tuple[Summary, list[Event]]]


@pytest.fixture
def run(store: Store, engine: LocalEngine) -> Run:
    """Run a plan and return its summary and events."""

    def run(plan: Plan, policy: Policy = Policy.ONLY_MISSING) -> tuple[Summary, list[Event]]:
        events: list[Event] = []
        summary = run_plan(plan, store, engine, policy, events.append, retries=Retries(attempts=1))
        return summary, events

    return run
