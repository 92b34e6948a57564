from __future__ import annotations

import re
from importlib import resources
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

from im_bench.report.page.charts import Chart, Series, Value, dot_chart, line_chart, swatch
from im_bench.report.page.cost import duration
from im_bench.report.page.curves import MOST_POINTS
from im_bench.report.page.frame import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from im_bench.report.page.styles import MOST, method_styles
from im_bench.report.page.svg import VARIABLES, shared_markers, style_sheet
from im_bench.report.tables.entries import Column, Entry, ResultsTable, Row, State


def series(*points: tuple[float, float], **more: object) -> Series:
    return Series("one", "c0 d0", points, **more)  # type: ignore[arg-type]


def root(chart: Chart) -> ElementTree.Element:
    return ElementTree.fromstring(chart.drawing.markup)


def texts(chart: Chart) -> list[str]:
    return [text.text or "" for text in root(chart).iter("text")]


def points(path: ElementTree.Element) -> NDArray[np.float64]:
    """Return the corners of a path: (N, 2)."""
    steps = [float(number) for number in re.findall(r"-?[\d.]+", path.attrib["d"])]
    return np.reshape(steps, (-1, 2)).cumsum(0).round(1)


def named(chart: Chart, title: str, tag: str) -> list[ElementTree.Element]:
    """Return the elements that show a title where the pointer rests."""
    groups = [group for group in root(chart).iter("g") if group.findtext("title") == title]
    return [element for group in groups for element in group.iter(tag)]


def many(bands: bool) -> list[Series]:
    """Return eight curves as long as a page has them."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(8):
        xs = np.linspace(0, 20_000, MOST_POINTS)
        ys = 60 - 50 * np.exp(-xs / 5000) + rng.normal(k, 1.5, len(xs))
        band = list(zip(*(v.tolist() for v in (xs, ys - 2, ys + 2)), strict=True)) if bands else []
        at = list(zip(xs.tolist(), ys.tolist(), strict=True))
        found.append(Series(f"m{k}", f"c{k} d{k % 4}", at, band))
    return found


def test_greater_values_stand_higher_and_later_ones_to_the_right() -> None:
    chart = line_chart("data", "iterations", "IoU %", [series((1, 10), (2, 30), (3, 20))])
    (line,) = named(chart, "one", "path")
    xs, ys = points(line).T
    assert xs.tolist() == pytest.approx([LEFT, (LEFT + WIDTH - RIGHT) / 2, WIDTH - RIGHT])
    assert TOP <= ys[1] < ys[2] < ys[0] <= HEIGHT - BOTTOM
    assert texts(chart)[-6:] == ["10", "15", "20", "25", "30", "iterations"]
    assert (chart.title, chart.y_label, chart.labels) == ("data", "IoU %", ("one",))
    assert "one ends at 20" in chart.alt
    assert root(chart).attrib["aria-label"] == chart.alt


def test_a_band_is_closed_and_inside_the_frame() -> None:
    chart = line_chart("data", "x", "y", [series((1, 10), (2, 10), band=[(1, 5, 15), (2, 8, 12)])])
    (area,) = (path for path in root(chart).iter("path") if path.attrib["d"].endswith("z"))
    _, ys = points(area).T
    assert len(ys) in (4, 5)  # the first may be said again
    assert TOP <= ys.min() < ys.max() <= HEIGHT - BOTTOM
    assert "opacity" in chart.drawing.rules[area.attrib["class"]]


@pytest.mark.parametrize("at", [[(5.0, 0.0)], [(1.0, 7.0), (2.0, 7.0)], [(1.0, -0.1)]])
def test_single_values_have_an_axis_too(at: list[tuple[float, float]]) -> None:
    chart = line_chart("data", "x", "y", [series(*at)])
    found = [text for text in root(chart).iter("text") if float(text.attrib["x"]) < LEFT]
    assert len({text.text for text in found}) >= 2
    assert len(named(chart, "one", "use")) == (len(at) == 1)


def test_what_is_no_number_is_a_gap() -> None:
    nan = float("nan")
    chart = line_chart("data", "x", "y", [series((1, 1), (2, 2), (3, nan), (4, 3), (5, 4))])
    (line,) = named(chart, "one", "path")
    assert line.attrib["d"].count("M") == 2
    chart = line_chart("data", "x", "y", [series((1, nan), (2, nan))])
    assert named(chart, "one", "path") == []
    assert "one ends at nan" in chart.alt


def test_a_logarithmic_axis() -> None:
    chart = line_chart("data", "x", "y", [series((6, 1), (60, 2), (600, 3))], "log")
    assert texts(chart)[:6] == ["10", "20", "50", "100", "200", "500"]
    (line,) = named(chart, "one", "path")
    xs, _ = points(line).T
    assert xs[1] == pytest.approx((xs[0] + xs[2]) / 2, abs=0.1)
    chart = line_chart("data", "x", "y", [series((6, 1), (6000, 3))], "log")
    assert texts(chart)[:3] == ["10", "100", "1,000"]


@pytest.mark.parametrize("xs", [(0.005,), (0.0041, 0.0043), (3, 4), (0.0003, 0.03)])
def test_a_logarithmic_axis_has_a_few_ticks_however_short_it_is(xs: tuple[float, ...]) -> None:
    chart = line_chart("data", "x", "y", [series(*((x, 1) for x in xs))], "log")
    low = [one for one in root(chart).iter("text") if float(one.attrib["y"]) > HEIGHT - BOTTOM + 8]
    assert 2 <= len(low) - 1 <= 6  # beside the label


def test_orders_of_magnitude_of_y() -> None:
    one = series((1, 1), (2, 10), (3, 100))
    chart = line_chart("data", "x", "y", [one], wide=True)
    (line,) = named(chart, "one", "path")
    _, ys = points(line).T
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.2)
    assert TOP <= ys.min() < ys.max() <= HEIGHT - BOTTOM


def test_whole_numbers_only() -> None:
    chart = line_chart("data", "generation", "y", [series((1, 1), (2, 2), (3, 3))], "whole")
    assert texts(chart)[:4] == ["1", "2", "3", "1"]
    chart = line_chart("data", "generation", "y", [series((4, 1))], "whole")
    assert texts(chart)[0] == "4"


def test_dots_have_their_interval_around_them_and_names_that_fit() -> None:
    values = [
        Value("a" * 40, "1.0", "c0 d0", 1, 0.5, 2, 3),
        Value("b", "−1.0", "c1 d1", -1, faint=True),
    ]
    chart = dot_chart("data", "gain", values, zero=True)
    first, second = f"{'a' * 40}: 1.0", "b: −1.0"
    reference, dot = named(chart, first, "use")
    (interval,) = named(chart, first, "path")
    (other,) = named(chart, second, "use")
    low, high = points(interval)[:, 0]
    (zero,) = (
        points(path)[0, 0]
        for path in root(chart).iter("path")
        if "planned" in chart.drawing.rules[path.attrib["class"]]
    )
    xs = [float(mark.attrib["x"]) for mark in (other, dot, reference)]
    at = [xs[0], zero, low, xs[1], high, xs[2]]
    assert at == sorted(at)
    assert float(dot.attrib["y"]) < float(other.attrib["y"])
    assert [text.text for text in named(chart, second, "text")] == ["b"]
    assert (named(chart, first, "text")[0].text or "").endswith("a…")
    assert "color-mix" in chart.drawing.rules[other.attrib["class"]]
    assert "color-mix" not in chart.drawing.rules[dot.attrib["class"]]


def test_a_drawing_has_no_styles_or_ids_of_its_own_and_is_small() -> None:
    charts = [line_chart("data", "iterations", "IoU %", many(bands)) for bands in (True, False)]
    assert [len(chart.drawing.markup.encode()) // 1000 for chart in charts] == [13, 5]
    dots = dot_chart("data", "IoU %", [Value("a", "1", "c0 d0", 1), Value("b", "2", "c1 d1", 2)])
    for one in (*(chart.drawing for chart in (*charts, dots)), swatch("grey d3")):
        assert re.findall(r"style|id=|clip|xmlns|#0|<!--", one.markup) == []
        for element in ElementTree.fromstring(one.markup).iter():
            assert element.get("class", next(iter(one.rules))) in one.rules
            assert element.tag != "use" or element.attrib["href"][1:] in one.markers


def test_rules_and_markers_are_shared_and_the_sheet_knows_their_colours() -> None:
    drawings = [swatch(f"c{k % 8} d{k % 4}") for k in range(16)]
    sheet, markers = style_sheet(drawings), shared_markers(drawings)
    assert sheet == style_sheet(drawings[:8])
    assert markers == shared_markers(drawings[:8])
    css = (resources.files("im_bench.report.page") / "templates/page.css").read_text()
    for variable in VARIABLES:
        assert css.count(f"--{variable}: #") >= 2
    colours = set(re.findall(r"#[0-9a-f]{6}|var\(--(\w+)\)", sheet))
    assert colours == {"paper", *(f"c{k}" for k in range(8))}


def test_names_are_text() -> None:
    chart = line_chart("data", "<b>", "y", [Series('$x$ <i> & "', "c0 d0", [(1, 1), (2, 2)])])
    assert chart.drawing.markup.count("<b>") + chart.drawing.markup.count("<i>") == 0
    assert len(named(chart, '$x$ <i> & "', "path")) == 1
    assert texts(chart)[-1] == "<b>"


def table(methods: list[str], *, all_labels: str = "") -> ResultsTable:
    entries = {
        (method, "data"): Entry({1: i / 100}, (1,), State.DONE) for i, method in enumerate(methods)
    }
    rows = tuple(
        Row(m, m.upper(), m == all_labels, m.removesuffix("+im") if m.endswith("+im") else "")
        for m in methods
    )
    return ResultsTable("suite", (Column("data", "0.1", "iou"),), rows, entries, ())


def test_a_method_and_its_masks_share_a_colour() -> None:
    styles = method_styles(table(["a", "a+im", "b", "fdt"], all_labels="fdt"))
    assert {name: style.look for name, style in styles.items()} == {
        "a": "c0 d1",
        "a+im": "c0 d0",
        "b": "c1 d0",
        "fdt": "grey d0",
    }


def test_of_too_many_methods_the_best_are_shown_and_no_two_look_alike() -> None:
    methods = [f"m{i}" for i in range(40)]
    styles = method_styles(table(methods))
    assert list(styles) == methods[-MOST:]
    assert len({style.look for style in styles.values()}) == MOST


def test_pairs_are_shown_whole() -> None:
    methods = [f"m{i}{end}" for i in range(40) for end in ("", "+im")]
    styles = method_styles(table(methods))
    assert list(styles) == methods[-MOST:]
    assert len({style.look for style in styles.values()}) == MOST


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, ""), (9.4, "9 s"), (119, "119 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
