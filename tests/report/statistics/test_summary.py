from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from im_bench.errors import ImBenchError
from im_bench.planning.plan import Plan, make_plan
from im_bench.report.statistics.json_form import render_json, summary_values
from im_bench.report.statistics.plot import write_plot
from im_bench.report.statistics.summary import Summary, summarise
from im_bench.report.statistics.text import render_markdown, render_terminal, summary_page
from im_bench.report.tables.build import CellResults
from im_bench.runner.store import Store

from ..results import finish, outcome_of

SUITE = """
name: masked
seeds: [1, 2, 3, 4]
budget: equal
data:
  lesions: {synth: {like: isic2018}, size: [64, 64]}
  cells: {synth: {like: hela}, size: [64, 64]}
methods:
  fdt: {members: 1}
  unimatch: {}
  unimatch+im: {}
  fixmatch: {}
  fixmatch+im: {}
"""

#: Of seed 1; each further seed adds 0.01 (lesions) or 0.1 (cells, where less is better).
BASE = {
    "lesions": {"unimatch": 0.6, "unimatch+im": 0.7, "fixmatch": 0.5, "fixmatch+im": 0.505},
    "cells": {"unimatch": 4.0, "unimatch+im": 2.0, "fixmatch": 5.0, "fixmatch+im": 5.05},
}


@pytest.fixture
def masked(tmp_path: Path) -> Plan:
    path = tmp_path / "masked.yaml"
    path.write_text(SUITE)
    return make_plan(path, tmp_path / "runs", tmp_path / "data")


def leave(plan: Plan, store: Store, data: str, method: str, seed: int, value: float) -> None:
    stage = plan.graph[plan.cell(f"{data}/0.1/{method}").finals[seed]]
    metric = "iou" if data == "lesions" else "mcce"
    finish(store, plan, stage, outcome_of(metric, [value]))


@pytest.fixture
def filled(masked: Plan, store: Store) -> Plan:
    for data, scores in BASE.items():
        for method, value in scores.items():
            for seed in (1, 2, 3, 4):
                step = (0.01 if data == "lesions" else 0.1) * (seed - 1)
                leave(masked, store, data, method, seed, value + step)
    return masked


def summary(plan: Plan, store: Store, baseline: str | None = None) -> Summary:
    return summarise(plan, CellResults(plan, store), baseline, bands=True)


def test_methods_are_ordered_and_ranked(filled: Plan, store: Store) -> None:
    found = summary(filled, store)
    assert [one.method for one in found.methods] == [
        "unimatch+im",
        "unimatch",
        "fixmatch+im",
        "fixmatch",
    ]
    # fixmatch+im is third on lesions and fourth on cells.
    assert [one.rank.value for one in found.methods] == [1, 2, 3.5, 3.5]
    # Six of sixteen runs are cut; on both data sets the best mean is 1, symmetrically around it.
    assert found.methods[0].iqm.value == pytest.approx(1)
    for one in found.methods:
        assert one.iqm.interval is not None
        assert one.iqm.interval[0] < one.iqm.value < one.iqm.interval[1]
        assert one.profile[0] == 1
        assert list(one.profile) == sorted(one.profile, reverse=True)
    # The first two are apart in every draw: that is no certainty.
    assert found.methods[0].rank.interval is None
    assert found.tasks == (("cells", "0.1", (1, 2, 3, 4)), ("lesions", "0.1", (1, 2, 3, 4)))
    assert "fdt" in found.holes[0]


def test_improvements_are_corrected_for_their_number(filled: Plan, store: Store) -> None:
    unimatch, fixmatch = summary(filled, store).improvements
    assert unimatch.comparison.sides == ("unimatch+im", "unimatch")
    # Eight pairs agree: 2 / 2^8, twice for two comparisons.
    assert unimatch.p == pytest.approx(2 * 2 / 2**8)
    assert fixmatch.p is not None
    assert fixmatch.p > 0.05
    said = summary_page(summary(filled, store)).conclusion
    assert said.startswith("Better than its base: unimatch+im (p = 0.016). No difference shown")


def test_with_few_pairs_there_is_no_p(filled: Plan, store: Store, tmp_path: Path) -> None:
    plan = make_plan(filled.path, tmp_path / "runs", tmp_path / "data", seeds=(1, 2, 3))
    found = summary(plan, store)
    assert [one.p for one in found.improvements] == [None, None]
    page = summary_page(found)
    assert "With 6 pairs" in page.conclusion
    assert "at least 7 pairs are needed" in page.conclusion
    assert "none: 7<br>pairs needed" in render_markdown(page)


def test_gains_over_a_baseline(filled: Plan, store: Store) -> None:
    found = summary(filled, store, "fixmatch")
    by_name = {one.method: one for one in found.methods}
    # Means 0.715 against 0.515 and 2.15 against 5.15; the middle half of all runs.
    runs = sorted(
        [(0.7 + s / 100) / 0.515 - 1 for s in range(4)]
        + [1 - (2 + s / 10) / 5.15 for s in range(4)]
    )
    assert by_name["unimatch+im"].iqm.value == pytest.approx(sum(runs[2:6]) / 4)
    assert by_name["fixmatch"].iqm.value == pytest.approx(0, abs=1e-12)
    assert [one.comparison.sides[1] for one in found.improvements] == ["fixmatch"] * 3
    assert "gains over the mean of fixmatch" in render_markdown(summary_page(found))


def test_the_order_of_the_suite_does_not_matter(filled: Plan, store: Store) -> None:
    before = {one.method: (one.iqm, one.rank) for one in summary(filled, store).methods}
    filled.cells.reverse()
    assert {one.method: (one.iqm, one.rank) for one in summary(filled, store).methods} == before


def test_only_seeds_that_all_have_count(filled: Plan, store: Store) -> None:
    for method, seed in (("unimatch", 2), ("fixmatch", 3)):
        stage = filled.graph[filled.cell(f"cells/0.1/{method}").finals[seed]]
        (store.folder(stage).path / "result.json").unlink()
    found = summary(filled, Store(store.out))
    assert found.tasks[0] == ("cells", "0.1", (1, 4))
    assert found.interval_problem
    assert all(one.iqm.interval is None and one.band is None for one in found.methods)
    assert (
        "cells: only seeds 1, 4 count; unimatch lacks seed 2 (planned); fixmatch lacks seed 3 "
        "(planned)." in found.holes
    )
    # A pair needs only its two sides.
    assert found.improvements[0].comparison.pairs == 7


def test_a_data_set_that_one_method_lacks_is_left_out(filled: Plan, store: Store) -> None:
    for key in filled.cell("cells/0.1/fixmatch").finals.values():
        (store.folder(filled.graph[key]).path / "result.json").unlink()
    found = summary(filled, Store(store.out))
    assert [data for data, _, _ in found.tasks] == ["lesions"]
    assert any(
        hole.startswith("cells: left out; fixmatch lacks seeds 1, 2") for hole in found.holes
    )


def test_too_little_to_compare(masked: Plan, store: Store) -> None:
    with pytest.raises(ImBenchError, match=r"no results yet.*im-bench run"):
        summary(masked, store)
    leave(masked, store, "lesions", "unimatch", 1, 0.6)
    with pytest.raises(ImBenchError, match="results of unimatch only"):
        summary(masked, Store(store.out))
    leave(masked, store, "lesions", "fixmatch", 2, 0.6)
    with pytest.raises(ImBenchError, match="no data set of which all"):
        summary(masked, Store(store.out))
    with pytest.raises(ImBenchError, match="did you mean 'unimatch'"):
        summary(masked, Store(store.out), "unimach")
    with pytest.raises(ImBenchError, match=r"unknown baseline.*'fdt'"):
        summary(masked, Store(store.out), "fdt")
    with pytest.raises(ImBenchError, match=r"fixmatch\+im has no results"):
        summary(masked, Store(store.out), "fixmatch+im")


def test_one_seed_gets_numbers_without_intervals(
    filled: Plan, store: Store, tmp_path: Path
) -> None:
    plan = make_plan(filled.path, tmp_path / "runs", tmp_path / "data", seeds=(1,))
    found = summary(plan, store)
    assert all(one.iqm.interval is None for one in found.methods)
    page = summary_page(found)
    assert any("No bootstrap intervals: at least 3 seeds of each" in note for note in page.notes)


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("baseline", [None, "unimatch"])
def test_it_can_be_read_at_any_width(
    filled: Plan, store: Store, width: int, baseline: str | None
) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(render_terminal(summary_page(summary(filled, store, baseline))))
    text = console.export_text()
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    assert "performance profile" in text


def test_json_holds_the_numbers(filled: Plan, store: Store) -> None:
    found = summary(filled, store)
    values = json.loads(render_json(summary_values(found), summary_page(found)))
    assert values["methods"][0]["method"] == "unimatch+im"
    assert values["methods"][0]["iqm"]["value"] == pytest.approx(1)
    assert values["improvements"][0]["p_holm"] == pytest.approx(2 * 2 / 2**8)
    assert len(values["taus"]) == len(values["methods"][0]["profile"])


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_figures_are_the_same_every_time(
    filled: Plan, store: Store, tmp_path: Path, suffix: str
) -> None:
    found = summary(filled, store)
    paths = [tmp_path / f"{i}{suffix}" for i in (1, 2)]
    for path in paths:
        write_plot(found, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].stat().st_size > 5000
    if suffix == ".svg":
        text = paths[0].read_text()
        assert all(one.method in text for one in found.methods)


def test_wrong_files_for_figures(filled: Plan, store: Store, tmp_path: Path) -> None:
    found = summary(filled, store)
    with pytest.raises(ImBenchError, match=r"ends in \.svg"):
        write_plot(found, tmp_path / "plot.jpg")
    (tmp_path / "file").write_text("")
    with pytest.raises(ImBenchError, match="cannot write the figure"):
        write_plot(found, tmp_path / "file" / "plot.svg")
