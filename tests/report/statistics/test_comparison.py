from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from im_bench.errors import ImBenchError
from im_bench.files import SEAL, read_json, write_json
from im_bench.planning.plan import Plan
from im_bench.report.statistics.comparison import Comparison, Side, compare
from im_bench.report.statistics.conclusions import conclusion, too_few
from im_bench.report.statistics.json_form import comparison_values, render_json
from im_bench.report.statistics.protocols import refuse_other_protocols, training_notes
from im_bench.report.statistics.text import comparison_page, render_markdown, render_terminal
from im_bench.report.tables.build import CellResults
from im_bench.runner.store import Store

from ..conftest import Score
from ..results import finish, make_tiny_plan, outcome_of

#: By data set, method and seed; on cells a smaller error is the better one.
ISIC = {"im": (0.62, 0.64, 0.66), "ldt": (0.60, 0.61, 0.65)}
CELLS = {"im": (3.0, 2.0, 4.0), "ldt": (4.0, 3.0, 4.5)}


@pytest.fixture
def filled(plan: Plan, score: Score) -> Plan:
    for method in ("im", "ldt"):
        for seed in (1, 2, 3):
            score(f"isic/0.1/{method}", seed, ISIC[method][seed - 1])
            score(f"cells/0.1/{method}", seed, CELLS[method][seed - 1], metric="mcce")
    return plan


def between(plan: Plan, store: Store, first: str = "im", second: str = "ldt") -> Comparison:
    results = CellResults(plan, store)
    return compare(Side(first, first, results), Side(second, second, results))


def test_pairs_of_both_directions(filled: Plan, store: Store) -> None:
    found = between(filled, store)
    isic, cells = found.tasks
    assert (isic.column.metric, cells.column.metric) == ("iou", "mcce")
    assert isic.means == pytest.approx((0.64, 0.62))
    assert isic.difference.value == pytest.approx(0.02)
    assert cells.difference.value == pytest.approx(-5 / 6)
    assert (isic.wins, isic.losses, cells.wins, cells.losses) == (3, 0, 3, 0)
    assert found.overall is not None
    relative = (0.02 / 0.63 + (5 / 6) / ((3 + 23 / 6) / 2)) / 2
    assert found.overall.mean.value == pytest.approx(relative)
    # All of six agree: 2 / 2^6.
    assert found.overall.p == pytest.approx(0.03125)
    # On isic 0.62 and 0.64 lose to 0.65; on cells 4 loses to 3, and two are equal.
    assert found.overall.probability.value == pytest.approx(7 / 9)


def test_the_other_way_round(filled: Plan, store: Store) -> None:
    there, back = between(filled, store), between(filled, store, "ldt", "im")
    assert there.overall
    assert back.overall
    for one, other in zip(there.tasks, back.tasks, strict=True):
        assert one.difference.value == pytest.approx(-other.difference.value)
        assert (one.wins, one.losses) == (other.losses, other.wins)
    for name in ("mean", "iqm"):
        one, other = getattr(there.overall, name), getattr(back.overall, name)
        assert one.value == pytest.approx(-other.value)
        assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))
    assert there.overall.p == back.overall.p


def test_the_order_of_the_suite_does_not_matter(filled: Plan, store: Store, tmp_path: Path) -> None:
    other = make_tiny_plan(tmp_path, seeds=(3, 1, 2))
    other.cells.reverse()
    assert between(other, store).overall == between(filled, store).overall


def test_only_pairs_count_and_holes_are_said(filled: Plan, store: Store) -> None:
    cell = filled.cell("isic/0.1/ldt")
    (store.folder(filled.graph[cell.finals[2]]).path / "result.json").unlink()
    found = between(filled, Store(store.out))
    assert found.tasks[0].seeds == (1, 3)
    assert found.tasks[0].means == pytest.approx((0.64, 0.625))
    assert found.holes == ("isic: ldt lacks seed 2 (no data).",)
    assert found.overall is not None
    assert found.overall.mean.interval is None
    assert "3 seeds of each" in found.overall.interval_problem
    said = conclusion(found)
    assert said.startswith("Nothing can be concluded yet: im is better in 5 of 5 pairs; the mean")
    assert "p would be 0.062; at least 6 pairs are needed" in said
    assert "no p: 5 of at least 6 pairs" in render_markdown(comparison_page(found))


def test_a_score_that_is_no_number_is_a_hole(filled: Plan, store: Store) -> None:
    path = store.folder(filled.graph[filled.cell("isic/0.1/im").finals[1]]).path / "result.json"
    result = read_json(path)
    result["outcome"]["test"]["iou"] = float("nan")
    path.write_text(json.dumps(result))
    found = between(filled, Store(store.out))
    assert found.tasks[0].seeds == (2, 3)
    assert found.holes == ("isic: im lacks seed 1 (not a number).",)


def test_no_pair_at_all(plan: Plan, store: Store, score: Score) -> None:
    score("isic/0.1/ldt", 1, 0.6)
    score("isic/0.1/im", 2, 0.6)
    found = between(plan, store)
    assert found.overall is None
    page = comparison_page(found)
    assert page.sheets == ()
    assert page.conclusion.startswith("Nothing can be concluded: no seed of any data set")
    assert json.loads(render_json(comparison_values(found), page))["overall"] is None


def test_what_is_concluded(filled: Plan, store: Store, score: Score) -> None:
    said = conclusion(between(filled, store))
    assert said == (
        "im is better than ldt on average (p = 0.031): im is better in 6 of 6 pairs; the mean "
        "difference is +13.8 % of the score."
    )
    assert conclusion(between(filled, store, "ldt", "im")).startswith("im is better than ldt")
    score("isic/0.1/im", 2, 0.5)
    said = conclusion(between(filled, Store(store.out)))
    assert said.startswith("No difference is shown (p = 0.")
    assert "no proof that they are equal: anything from −" in said


def test_a_winner_on_average_is_not_one_everywhere(plan: Plan, store: Store, score: Score) -> None:
    for seed in (1, 2, 3):
        score("isic/0.1/im", seed, 0.599)
        score("isic/0.1/ldt", seed, 0.6)
        score("cells/0.1/im", seed, 1.0 + seed / 10, metric="mcce")
        score("cells/0.1/ldt", seed, 9.0, metric="mcce")
    found = between(plan, store)
    assert found.overall is not None
    # Three of six pairs disagree; a larger suite could be sure all the same.
    sure = replace(found, overall=replace(found.overall, p=0.01))
    assert "Not on all: the means on isic say the opposite." in conclusion(sure)


@pytest.mark.parametrize(
    ("pairs", "comparisons", "said"),
    [(3, 1, "0.25; at least 6"), (1, 1, "1; at least 6"), (6, 6, "0.19; at least 8")],
)
def test_the_number_of_pairs_that_would_be_needed(pairs: int, comparisons: int, said: str) -> None:
    assert said in too_few(pairs, comparisons)


def test_what_differs_in_training_is_said(filled: Plan) -> None:
    assert training_notes(filled, ("im", "ldt")) == (
        "Trainings per seed: im 6, of which the last 2 compete by validation; ldt 2, of which the "
        "last 2 compete by validation.",
    )
    notes = training_notes(filled, ("fdt", "ldt"))
    assert "fdt: trained with labels that others must do without." in notes


@pytest.mark.parametrize("width", [80, 160])
def test_it_can_be_read_at_any_width(filled: Plan, store: Store, width: int) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(render_terminal(comparison_page(between(filled, store))))
    lines = console.export_text().splitlines()
    assert all(len(line) <= width for line in lines)
    row = next(line for line in lines if "isic 0.1" in line)
    assert row.split()[2:5] == ["64.0", "62.0", "+2.0"]
    assert "…" not in "\n".join(lines)


def test_formats(filled: Plan, store: Store) -> None:
    found = between(filled, store)
    page = comparison_page(found, ("made by hand",))
    markdown = render_markdown(page)
    assert "| isic 0.1<br>IoU % ↑ | 64.0 | 62.0 | +2.0 [" in markdown
    assert "- made by hand" in markdown
    values = json.loads(render_json(comparison_values(found), page))
    assert values["tasks"][1]["scores"] == [[3.0, 2.0, 4.0], [4.0, 3.0, 4.5]]
    assert values["overall"]["p"] == pytest.approx(0.03125)
    assert values["notes"][-1] == "made by hand"


def test_two_folders(filled: Plan, store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "others")
    for data, metric, scores in (("isic", "iou", ISIC), ("cells", "mcce", CELLS)):
        for seed, value in zip((1, 2), scores["ldt"], strict=False):
            stage = filled.graph[filled.cell(f"{data}/0.1/im").finals[seed]]
            finish(other, filled, stage, outcome_of(metric, [value]))
    refuse_other_protocols(filled, other)
    found = compare(
        Side("here", "im", CellResults(filled, store)),
        Side("there", "im", CellResults(filled, other)),
    )
    assert [task.seeds for task in found.tasks] == [(1, 2), (1, 2)]
    assert found.tasks[0].difference.value == pytest.approx(0.025)
    assert found.holes[0] == "isic: there lacks seed 3 (no data)."


def test_other_metrics_are_refused(filled: Plan, store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "others")
    stage = filled.graph[filled.cell("isic/0.1/im").finals[1]]
    finish(other, filled, stage, outcome_of("dice", [0.7]))
    with pytest.raises(
        ImBenchError, match="isic is measured by iou for here and by dice for there"
    ):
        compare(
            Side("here", "im", CellResults(filled, store)),
            Side("there", "im", CellResults(filled, other)),
        )


def test_other_protocols_are_refused_with_what_differs(filled: Plan, tmp_path: Path) -> None:
    longer = make_tiny_plan(tmp_path, budget="paper")
    other = Store(tmp_path / "others")
    final = longer.graph[longer.cell("isic/0.1/ldt").finals[1]]
    for stage in longer.closure([final.key]):
        finish(other, longer, stage, outcome_of("iou", [0.7]))
    with pytest.raises(ImBenchError, match=r"under another protocol.*budget\.epochs.*50 there"):
        refuse_other_protocols(filled, other)
    # A folder that lacks something, but has nothing else in its place, has a hole.
    refuse_other_protocols(filled, Store(tmp_path / "nothing"))


def test_a_recipe_of_another_version_is_another_protocol(filled: Plan, tmp_path: Path) -> None:
    other = Store(tmp_path / "others")
    stage = filled.graph[filled.cell("isic/0.1/ldt").finals[1]]
    folder = finish(other, filled, stage, outcome_of("iou", [0.7]))
    old = folder.with_name("scores-00000000")
    folder.rename(old)
    older = {**read_json(old / "stage.json"), "recipe": 0}
    del older[SEAL]
    write_json(old / "stage.json", older)
    with pytest.raises(ImBenchError, match="the version of a recipe"):
        refuse_other_protocols(filled, other)
