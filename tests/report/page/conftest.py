"""A suite with simulated results, its page, and a browser that shows it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from im_bench.report.page.page import make_page
from im_bench.report.page.shell import write_page
from im_bench.runner.store import Store
from im_bench.suites.plan import Plan, make_plan

from .browser import browser, missing
from .simulated import MARKUP, SUITE, Simulation

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@dataclass(frozen=True)
class Seen:
    """A suite with results: some cells are complete, one failed, one is planned."""

    plan: Plan
    store: Store
    page: Path

    @property
    def text(self) -> str:
        return self.page.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("seen")
    (folder / "seen.yaml").write_text(SUITE)
    plan = make_plan(folder / "seen.yaml", folder / "runs", folder / "data")
    store = Store(folder / "runs")
    lost = plan.cell("reef/0.1/u2pl").finals[3]
    (bad,) = (stage for stage in plan.closure([lost]) if stage.kind == "train")
    left = {lost, bad.key, *plan.cell("cells/0.1/im").finals.values()}
    simulation = Simulation(plan, store, rows=40)
    simulation.finish(stage for stage in plan.graph if stage.key not in left)
    simulation.fail(bad, f"it broke {MARKUP}")
    return Seen(plan, store, write_page(folder / "page", make_page([plan], store)))


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    if lacking := missing():
        end = pytest.fail if os.environ.get("IM_BENCH_REQUIRE_SERVICES") else pytest.skip
        end(f"no {lacking}: install Debian's chromium and chromium-driver")
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


def messages(driver: Chrome) -> tuple[list[str], list[str]]:
    """Return what the browser complained of, and the addresses that it asked for, since the last
    call. Data URIs are no requests, and pages of the browser's own are not ours."""
    said = [entry["message"] for entry in driver.get_log("browser")]
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return said, [url for url in asked if not url.startswith(("data:", "chrome:"))]
