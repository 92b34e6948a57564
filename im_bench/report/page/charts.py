"""Charts: curves over an axis, and values with intervals, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from im_bench.report.page.frame import (
    BOTTOM,
    DASHES,
    HEIGHT,
    LEFT,
    SETTINGS,
    TOP,
    Axis,
    dot_style,
    framed,
    locator,
    log_y,
    number_text,
    scale_x,
    shortened,
    tick_text,
)
from im_bench.report.page.svg import TITLE, Drawing, colour, drawing

ROW = 19
LABEL_WIDTH, CHARACTER = 140, 7.0

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A curve.

    Attributes:
        name: Of the method.
        look: Its colour and line.
        points: (x, y), by x.
        band: (x, low, high), by x, or nothing.
        dots: Whether points are marked, because they are few.
        faint: Whether it is one of many, thin and pale behind others.
    """

    name: str
    look: str
    points: Sequence[Point]
    band: Sequence[tuple[float, float, float]] = ()
    dots: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Value:
    """A value with its interval.

    Attributes:
        name: What stands to its left.
        text: The number, as tables print it.
        look: The method's colour and line.
        mean: The value.
        low: Lower end of the interval, if there is one.
        high: Upper end.
        reference: A number to compare with, such as a reported one.
        faint: Whether it is not final.
    """

    name: str
    text: str
    look: str
    mean: float
    low: float | None = None
    high: float | None = None
    reference: float | None = None
    faint: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: What stands above.
        y_label: What stands below the title: what is vertical.
        alt: The same for those who cannot see it.
        drawing: The picture.
        labels: Names of the curves or values in it.
    """

    title: str
    y_label: str
    alt: str
    drawing: Drawing
    labels: tuple[str, ...]


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    axis: Axis = "linear",
    alt: str = "",
    wide: bool = False,
) -> Chart:
    """Draw curves.

    Args:
        title: What stands above.
        x_label: With the unit.
        y_label: With the unit.
        series: At least one, each with at least one point; with a ``log`` axis x is positive.
        axis: The kind of the axis of x; ``whole`` has ticks at whole numbers only.
        alt: The same in words, where there are too many curves to name them all.
        wide: Whether y spans orders of magnitude, and is drawn logarithmically.
    """
    alt = alt or f"{title}: {y_label} by {x_label}. " + "; ".join(
        f"{one.name} ends at {number_text(one.points[-1][1])}" for one in series
    )
    with mpl.rc_context(SETTINGS):
        figure, axes = framed(LEFT, HEIGHT, x_label)
        axes.yaxis.set_major_locator(locator())
        axes.yaxis.set_major_formatter(tick_text)
        for one in series:
            _curve(axes, one)
        scale_x(axes, [x for one in series for x, _ in one.points], axis)
        if wide:
            log_y(axes, [y for one in series for _, y in one.points])
        axes.tick_params(axis="y", pad=6)
        axes.grid(axis="y")
        picture = drawing(figure, alt)
    return Chart(title, y_label, alt, picture, tuple(one.name for one in series))


def dot_chart(title: str, x_label: str, values: Sequence[Value], zero: bool = False) -> Chart:
    """Draw values with intervals, one a row.

    Args:
        title: What stands above.
        x_label: With the unit.
        values: At least one, from top to bottom.
        zero: Whether zero is part of the axis, and marked.
    """
    alt = f"{title}: {x_label}. " + "; ".join(f"{one.name} {one.text}" for one in values)
    widest = max(len(one.name) for one in values) * CHARACTER + 12
    left = min(LABEL_WIDTH, max(40, widest))
    most = int((left - 8) / CHARACTER)
    with mpl.rc_context(SETTINGS):
        figure, axes = framed(left, TOP + ROW * len(values) + BOTTOM, x_label, inset=6)
        axes.spines.bottom.set_visible(False)
        axes.xaxis.set_major_locator(locator())
        axes.xaxis.set_major_formatter(tick_text)
        axes.set_yticks(range(len(values)), [shortened(one.name, most) for one in values])
        axes.set_ylim(len(values) - 0.5, -0.5)
        if zero:
            axes.axvline(0, color=colour("planned"), linewidth=1, solid_capstyle="butt")
        for row, (one, label) in enumerate(zip(values, axes.get_yticklabels(), strict=True)):
            gid = f"{TITLE}{one.name}: {one.text}"
            label.set(gid=gid, color=colour("ink", one.faint))
            _value(axes, row, one, gid)
        axes.tick_params(axis="x", length=0, pad=6)
        axes.tick_params(axis="y", pad=12)
        axes.grid(axis="x")
        picture = drawing(figure, alt)
    return Chart(title, "", alt, picture, tuple(one.name for one in values))


@cache
def swatch(look: str) -> Drawing:
    """Draw what a legend shows of a method: a bit of its line, with a dot."""
    with mpl.rc_context(SETTINGS):
        figure = Figure((26 / 72, 10 / 72), frameon=False)
        dot = dot_style(look, 6)
        figure.add_artist(Line2D([1 / 26, 0.5, 25 / 26], [0.5] * 3, markevery=[1], **dot))
        return drawing(figure)


def _curve(axes: Axes, series: Series) -> None:
    name, dashes = series.look.split()
    gid = f"{TITLE}{series.name}"
    if series.band:
        xs, low, high = zip(*series.band, strict=True)
        # A polygon: matplotlib's fill_between makes a marker of it, which is none.
        axes.fill(
            [*xs, *reversed(xs)],
            [*low, *reversed(high)],
            color=colour(name),
            alpha=0.14,
            linewidth=0,
        )
    xs, ys = zip(*series.points, strict=True)
    if series.dots or len(xs) == 1:
        axes.plot(xs, ys, gid=gid, **dot_style(series.look, 6))
    else:
        own, width = colour(name, series.faint), 1.2 if series.faint else 2
        axes.plot(xs, ys, gid=gid, color=own, linestyle=DASHES[dashes], linewidth=width)


def _value(axes: Axes, row: int, value: Value, gid: str) -> None:
    name, dashes = value.look.split()
    if value.reference is not None:
        axes.plot(
            value.reference,
            row,
            "D",
            gid=gid,
            markersize=7,
            markeredgecolor=colour("quiet", value.faint),
            markeredgewidth=1.2,
            markerfacecolor="none",
        )
    if value.low is not None and value.high is not None:
        axes.plot(
            [value.low, value.high],
            [row, row],
            gid=gid,
            color=colour(name, value.faint),
            linestyle=DASHES[dashes],
        )
    axes.plot(
        value.mean, row, gid=gid, **{**dot_style(value.look, 8, value.faint), "linestyle": "none"}
    )
