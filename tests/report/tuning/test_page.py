"""What the page of a study says and draws, without a browser."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from im_bench.report.page.charts import CHARACTER, Chart
from im_bench.report.page.frame import BOTTOM, HEIGHT, WIDTH
from im_bench.report.tuning import charts
from im_bench.report.tuning.findings import Findings, findings
from im_bench.report.tuning.page import MOST_LISTED, make_page
from im_bench.report.tuning.scatter import Dots, scatter_chart
from im_bench.tuning.storage import StudyStorage

from .studies import add, begin, labelled, spread, trained


@pytest.fixture
def found(storage: StudyStorage) -> Findings:
    return findings(trained(storage), storage.name)


def marks(chart: Chart, about: str) -> list[tuple[float, float]]:
    """Return where the marks are that say this where the pointer rests."""
    root = ElementTree.fromstring(chart.drawing.markup)
    groups = [group for group in root.iter("g") if group.findtext("title") == about]
    uses = [use for group in groups for use in group.iter("use")]
    return [(float(use.attrib["x"]), float(use.attrib["y"])) for use in uses]


def texts(chart: Chart) -> list[str]:
    return [one.text or "" for one in ElementTree.fromstring(chart.drawing.markup).iter("text")]


def colours(chart: Chart, about: str) -> set[str]:
    root = ElementTree.fromstring(chart.drawing.markup)
    groups = [group for group in root.iter("g") if group.findtext("title") == about]
    names = [
        one.attrib["class"] for group in groups for one in group.iter() if "class" in one.attrib
    ]
    return {
        found
        for name in names
        for found in re.findall(r"var\(--(\w+)\)", chart.drawing.rules[name])
    }


PRUNED = "trial 2: pruned at step 2 of 8, iou 0.1000"
FAILED = "trial 4: failed isic/0.5/s1001/fixmatch-t4+im/member1: the disk is <i>full</i>"
IMPOSSIBLE = "trial 5: pruned impossible: too many masks"


def test_the_history_tells_states_apart(found: Findings) -> None:
    drawn = charts.history(found)
    assert drawn is not None
    (chart,) = drawn.shown
    (best,), (own,) = marks(chart, "trial 3: 0.6250"), marks(chart, "trial 0: 0.5000")
    (pruned,), (failed,) = marks(chart, PRUNED), marks(chart, FAILED)
    assert best[1] < own[1] < pruned[1] < failed[1]
    assert own[0] < pruned[0] < best[0] < failed[0]
    (other,) = marks(chart, "trial 1: 0.4000")
    tenth = other[1] - own[1]
    assert pruned[1] == pytest.approx(other[1] + 3 * tenth, abs=0.3)  # the last that it reported
    (impossible,) = marks(chart, IMPOSSIBLE)  # it never had a value
    assert impossible[1] == failed[1]
    seen = [colours(chart, about) for about in ("trial 0: 0.5000", PRUNED, FAILED)]
    assert [one - {"paper"} for one in seen] == [{"c0"}, {"c1"}, {"failed"}]
    assert [key.name for key in drawn.legend] == [
        *("complete", "pruned", "without a value", "best so far")
    ]
    assert "the best value rises to 0.6250" in chart.alt


def test_curves_of_pruned_trials_end_where_they_were_pruned(found: Findings) -> None:
    drawn = charts.curves(found)
    assert drawn is not None
    (chart,) = drawn.shown
    (end,) = marks(chart, PRUNED)
    root = ElementTree.fromstring(chart.drawing.markup)
    ticks = {text.text: float(text.attrib["x"]) for text in root.iter("text")}
    assert end[0] == pytest.approx(ticks["2"], abs=0.2)
    assert marks(chart, "trial 1: 0.4000") == []
    assert colours(chart, PRUNED) == {"c1", "paper"}
    assert colours(chart, "trial 1: 0.4000") == {"c0", "paper"}  # pale
    assert colours(chart, "best: trial 3: 0.6250") == {"ink"}


def test_slices_have_the_scale_of_their_field(found: Findings) -> None:
    drawn = charts.slices(found)
    assert drawn is not None
    by_name = {chart.title: chart for chart in drawn.shown}
    assert list(by_name) == ["threshold", "weight", "im.erode", "mode"]
    assert {"hard", "soft <b>"} <= set(texts(by_name["mode"]))
    assert "weight, logarithmic" in texts(by_name["weight"])
    (own,) = marks(by_name["weight"], "trial 0: 0.5000")
    (best,) = marks(by_name["weight"], "trial 3: 0.6250")
    assert own[0] < best[0]
    assert marks(by_name["weight"], PRUNED) == []
    assert colours(by_name["weight"], "trial 0: 0.5000") == {"c3", "paper"}
    root = ElementTree.fromstring(by_name["mode"].drawing.markup)
    at = {text.text: float(text.attrib["x"]) for text in root.iter("text")}
    for about, name in (("trial 0: 0.5000", "hard"), ("trial 3: 0.6250", "soft <b>")):
        assert marks(by_name["mode"], about)[0][0] == pytest.approx(at[name], abs=0.2)


def test_names_of_values_are_cut_where_they_would_touch() -> None:
    names = [f"a-rather-long-value-{k}" for k in range(4)]
    dots = Dots("complete", charts.COMPLETE, [(k, 1.0, "trial") for k in range(4)])
    shown = texts(scatter_chart("", "field", "IoU", [dots], names=names))[:4]
    assert all(one.endswith("…") for one in shown)
    assert sum(len(one) + 1 for one in shown) * CHARACTER < WIDTH
    few = texts(scatter_chart("", "field", "IoU", [dots], names=["a-rather-long-value", "b"]))
    assert few[0] == "a-rather-long-value"


def test_errors_of_wild_trials_do_not_flatten_the_others(storage: StudyStorage) -> None:
    study = begin(storage, "cells", metric="mcce", hold_out=0.2)
    for value in (7.0, 70.0, 700.0):
        add(study, value, curve={1: value, 2: float("nan")})
    add(study, state="FAIL", failure="it broke")
    found = findings(study, storage.name)
    drawn = charts.history(found)
    assert drawn is not None
    (chart,) = drawn.shown
    assert chart.y_label == "held-out MCCE, logarithmic"
    at = [marks(chart, f"trial {k}: {value:.4f}")[0][1] for k, value in enumerate((7, 70, 700))]
    assert at[0] - at[1] == pytest.approx(at[1] - at[2], abs=0.2)
    assert "the best value falls to 7.0000" in chart.alt
    (failed,) = marks(chart, "trial 3: failed it broke")
    assert at[0] < failed[1] < HEIGHT - BOTTOM  # at the foot, though it has no value


def test_columns_of_words_and_of_numbers(found: Findings) -> None:
    page = make_page(found)
    table = page[page.index('<section id="trials"') :]
    assert '<th scope="col">mode</th>' in table
    assert '<td class="text">soft &lt;b&gt;</td>' in table
    assert '<th scope="col" class="number">im.erode</th>' in table
    assert '<td data-value="3">3</td>' in table


def test_without_complete_trials_there_is_nothing_to_draw(storage: StudyStorage) -> None:
    study = begin(storage, "none")
    add(study, state="FAIL", failure="it broke")
    found = findings(study, storage.name)
    assert charts.history(found) is charts.slices(found) is charts.importances(found) is None
    page = make_page(found)
    assert "No trial is complete yet: 1 failed." in page
    assert "it broke" in page
    assert re.findall(r'<section id="(\w+)"', page) == ["trials"]


def test_the_front_and_the_chosen_point(storage: StudyStorage) -> None:
    found = findings(labelled(storage), storage.name)
    drawn = charts.front_chart(found)
    assert drawn is not None
    (chart,) = drawn.shown
    assert charts.history(found) is charts.curves(found) is None
    best = found.best
    assert best is not None
    about = f"trial {best.number}: {best.values[0]:.4f} and {best.values[1]:.4f}"
    assert "c2" in colours(chart, about)
    assert "best balanced" in [key.name for key in drawn.legend]
    slices = charts.slices(found)
    assert slices is not None
    assert [one.y_label for one in slices.shown] == ["quality"] * 4 + ["coverage"] * 4
    page = make_page(found)
    assert re.findall(r'<section id="(\w+)"', page) == [
        *("found", "front", "fields", "importances", "trials")
    ]


def test_the_page_has_its_sections_and_text_is_text(found: Findings) -> None:
    page = make_page(found)
    assert re.findall(r'<section id="(\w+)"', page) == [
        *("found", "history", "fields", "importances", "trials")
    ]
    assert "<i>full" not in page
    assert "soft <b>" not in page
    assert "&lt;i&gt;full&lt;/i&gt;" in page
    assert "To say which fields matter takes 10 complete trials; so far there are 3." in page
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page) == []
    assert not re.search(r"\sstyle=|@import|url\(", page)


def test_what_is_left_out_is_counted(
    storage: StudyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = findings(spread(storage, 30), storage.name)
    monkeypatch.setattr(charts, "MOST_DOTS", 10)
    monkeypatch.setattr("im_bench.report.tuning.page.MOST_LISTED", 20)
    page = make_page(found)
    assert "20 trials are not drawn" in page
    assert "20 of 30 trials." in page
    assert MOST_LISTED > 100
