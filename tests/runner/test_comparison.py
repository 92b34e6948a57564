"""Two cells side by side, from real stage folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from im_bench.files import read_json, write_json
from im_bench.planning.plan import Plan
from im_bench.runner.comparison import Difference, Side, compare
from im_bench.runner.store import Store
from im_bench.suites.graph import Coordinates, Graph, Stage

from .conftest import Run
from .rewriting import rewrite
from .stage_functions import plan_of


def cell(graph: Graph, method: str, students: int, value: int, **config: object) -> Stage:
    """Add stages as a method has them: a shared one, students with values of their own, scores."""
    shared = graph.add("add", Coordinates("member", "d", "0.1", 1, "ldt", member=1), {"value": 1})
    made = [
        graph.add(
            "add",
            Coordinates(f"student{i}", "d", "0.1", 1, method),
            {"value": value + i, **config},
            {"below": [shared]},
        )
        for i in range(students)
    ]
    return graph.add(
        "add", Coordinates("scores", "d", "0.1", 1, method), {"value": 0}, {"students": made}
    )


@pytest.fixture
def plan() -> Plan:
    graph = Graph()
    finals = {
        "m": cell(graph, "m", 3, 10, steps=1),
        "n": cell(graph, "n", 4, 20, steps=2),
        "ldt": graph.add(
            "add", Coordinates("member", "d", "0.1", 1, "ldt", member=1), {"value": 1}
        ),
    }
    return plan_of(graph, finals)


def side(plan: Plan, method: str, store: Store) -> Side:
    return Side(plan, plan.cell(f"d/0.1/{method}"), (1,), store)


def test_configs_are_compared_stage_by_stage_and_grouped(plan: Plan, store: Store) -> None:
    found = compare(side(plan, "m", store), side(plan, "n", store))
    assert found == [
        Difference("stages", "only here", "", "-", "student3"),
        Difference("config", "value", "student0, and 2 more otherwise", "10", "20"),
        Difference("config", "steps", "student0, student1, student2", "1", "2"),
    ]


def test_a_shared_stage_is_the_same_under_whatever_name(plan: Plan, store: Store) -> None:
    (found,) = compare(side(plan, "ldt", store), side(plan, "m", store))
    assert (found.what, found.left) == ("only here", "-")
    assert found.right == "student0 ... scores (4 stages)"


def test_where_stages_ran_and_what_came_out(
    plan: Plan, store: Store, run: Run, tmp_path: Path
) -> None:
    run(plan)
    other = Store(tmp_path / "other")
    here, there = side(plan, "m", store), side(plan, "m", other)
    assert [d for d in compare(here, there) if d.section != "state"] == []
    (state,) = compare(here, there)
    assert (state.what, state.left, state.right) == ("state", "done", "planned")

    Path(other.out).mkdir()
    (store.stages).rename(other.stages)
    run(plan)
    assert compare(here, there) == []

    final = other.folder(plan.graph[here.cell.finals[1]]).path
    origin = read_json(final / "provenance-1.json")
    origin["versions"]["torch"] = "0.1"
    write_json(final / "provenance-1.json", {**origin, "device": "NVIDIA H100", "host": "x"})
    for path, score in (
        (final, 0.5),
        (store.folder(plan.graph[here.cell.finals[1]]).path, 0.5 + 1e-9),
    ):
        rewrite(path / "result.json", outcome={"test": {"iou": score}})
    torch, device, score = compare(here, there)
    assert (torch.what, torch.where, torch.right) == ("versions.torch", "scores", "0.1")
    assert (device.what, device.right) == ("device", "NVIDIA H100")
    assert (score.what, score.where) == ("test.iou", "s1")
    assert (score.left, score.right) == ("0.500000001", "0.5")
