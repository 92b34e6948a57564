"""A suite with simulated results, and its page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from im_bench.planning.plan import Plan, make_plan
from im_bench.report.page.page import make_page
from im_bench.report.page.shell import write_page
from im_bench.runner.store import Store

from .simulated import MARKUP, SUITE, Simulation


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
