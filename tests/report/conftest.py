"""Fixtures: the small suite of ``results.py``, a way to leave scores in it, and a browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from im_bench.planning.plan import Plan
from im_bench.runner.store import Store

from .page.browser import browser, missing
from .results import finish, make_tiny_plan, outcome_of

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    if lacking := missing():
        end = pytest.fail if os.environ.get("IM_BENCH_REQUIRE_SERVICES") else pytest.skip
        end(f"no {lacking}: install Debian's chromium and chromium-driver")
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_tiny_plan(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


Score = Callable[..., Path]


@pytest.fixture
def score(plan: Plan, store: Store) -> Score:
    """Return a function that leaves the scores of one cell and seed."""

    def leave(cell: str, seed: int, *scores: float, metric: str = "iou", **more: Any) -> Path:
        stage = plan.graph[plan.cell(cell).finals[seed]]
        return finish(store, plan, stage, outcome_of(metric, list(scores), **more))

    return leave


@pytest.fixture
def filled(plan: Plan, store: Store, score: Score) -> Plan:
    for seed in (1, 2, 3):
        score("isic/0.1/ldt", seed, 0.6 + 0.01 * seed)
        score("isic/0.1/aldt", seed, 0.5)
        score("isic/0.1/fdt", seed, 0.75)
    score("isic/0.1/im", 2, 0.65, 0.711, shares=[0.9, 0.95])
    return plan
