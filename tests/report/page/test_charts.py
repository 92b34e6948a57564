from __future__ import annotations

import pytest

from im_bench.report.page.charts import Series, Value, dot_chart, line_chart
from im_bench.report.page.cost import duration
from im_bench.report.page.styles import MOST, method_styles
from im_bench.report.tables.entries import Column, Entry, ResultsTable, Row, State


def series(*points: tuple[float, float], **more: object) -> Series:
    return Series("one", "c0", points, **more)  # type: ignore[arg-type]


def test_greater_values_stand_higher_and_later_ones_to_the_right() -> None:
    chart = line_chart("data", "iterations", "IoU %", [series((1, 10), (2, 30), (3, 20))])
    (curve,) = chart.curves
    numbers = [float(word) for word in curve.line.removeprefix("M").split()]
    xs, ys = numbers[::2], numbers[1::2]
    assert xs == [chart.left, (chart.left + chart.right) / 2, chart.right]
    assert ys[1] < ys[2] < ys[0]
    assert all(chart.top <= tick.at <= chart.bottom for tick in chart.y_ticks)
    assert [tick.text for tick in chart.y_ticks] == ["10", "15", "20", "25", "30"]
    assert "one ends at 20" in chart.alt


def test_a_band_is_closed_and_inside_the_frame() -> None:
    chart = line_chart("data", "x", "y", [series((1, 10), (2, 10), band=[(1, 5, 15), (2, 8, 12)])])
    (curve,) = chart.curves
    assert curve.area.endswith("Z")
    ys = [float(word) for word in curve.area[1:-1].split()[1::2]]
    assert len(ys) == 4
    assert chart.top <= min(ys) <= max(ys) <= chart.bottom


@pytest.mark.parametrize("points", [[(5.0, 0.0)], [(1.0, 7.0), (2.0, 7.0)], [(1.0, -0.1)]])
def test_single_values_have_an_axis_too(points: list[tuple[float, float]]) -> None:
    chart = line_chart("data", "x", "y", [series(*points)])
    assert len(chart.y_ticks) >= 2
    assert chart.curves[0].line.count("nan") == 0


def test_a_logarithmic_axis() -> None:
    chart = line_chart("data", "x", "y", [series((6, 1), (60, 2), (600, 3))], "log")
    assert [tick.text for tick in chart.x_ticks] == ["10", "20", "50", "100", "200", "500"]
    numbers = [float(word) for word in chart.curves[0].line[1:].split()]
    assert numbers[2] == pytest.approx((numbers[0] + numbers[4]) / 2, abs=0.1)


def test_whole_numbers_only() -> None:
    chart = line_chart("data", "generation", "y", [series((1, 1), (2, 2), (3, 3))], "whole")
    assert [tick.text for tick in chart.x_ticks] == ["1", "2", "3"]


def test_dots_have_their_interval_around_them_and_names_that_fit() -> None:
    values = [Value("a" * 40, "1.0", "c0", 1, 0.5, 2, 3), Value("b", "−1.0", "c1", -1)]
    chart = dot_chart("data", "gain", values, zero=True)
    first, second = chart.dots
    ends = [first.low, first.x, first.high, first.reference]
    at = [end for end in (second.x, chart.zero, *ends) if end is not None]
    assert len(at) == 6
    assert at == sorted(at)
    assert first.name.endswith("…")
    assert first.full_name == "a" * 40
    assert second.low is None
    assert first.y < second.y < chart.bottom


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
    assert {name: style.css for name, style in styles.items()} == {
        "a": "c0 d1",
        "a+im": "c0 d0",
        "b": "c1 d0",
        "fdt": "grey d0",
    }


def test_of_too_many_methods_the_best_are_shown_and_no_two_look_alike() -> None:
    methods = [f"m{i}" for i in range(40)]
    styles = method_styles(table(methods))
    assert list(styles) == methods[-MOST:]
    assert len({style.css for style in styles.values()}) == MOST


def test_pairs_are_shown_whole() -> None:
    methods = [f"m{i}{end}" for i in range(40) for end in ("", "+im")]
    styles = method_styles(table(methods))
    assert list(styles) == methods[-MOST:]
    assert len({style.css for style in styles.values()}) == MOST


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, ""), (9.4, "9 s"), (119, "119 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
