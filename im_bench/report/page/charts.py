"""Charts as geometry: what a template writes as SVG.

Matplotlib's SVG of one such chart has 40 kB and 240 elements, in colours of its own; a page has
hundreds of charts, which should follow its fonts and its colours in light, dark and print. So
matplotlib only finds the ticks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.ticker import LogLocator, MaxNLocator

WIDTH = 360
HEIGHT = 232
TOP, RIGHT, BOTTOM, LEFT = 10, 12, 36, 42
ROW = 19
LABEL_WIDTH, CHARACTER = 140, 7.0

Axis = Literal["linear", "log", "whole"]
Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A curve.

    Attributes:
        name: Of the method.
        css: Its style.
        points: (x, y), by x.
        band: (x, low, high), by x, or nothing.
        dots: Whether points are marked, because they are few.
    """

    name: str
    css: str
    points: Sequence[Point]
    band: Sequence[tuple[float, float, float]] = ()
    dots: bool = False


@dataclass(frozen=True)
class Tick:
    """A position in the picture, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True)
class Curve:
    """A curve in the picture's coordinates; paths in the notation of SVG."""

    name: str
    css: str
    line: str
    area: str
    dots: tuple[Point, ...]


@dataclass(frozen=True)
class LineChart:
    """Curves over one axis.

    Attributes:
        title: What stands above.
        alt: The same for those who cannot see it.
    """

    title: str
    alt: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    curves: tuple[Curve, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Value:
    """A value with its interval.

    Attributes:
        name: What stands to its left.
        text: The number, as tables print it.
        css: The method's style.
        mean: The value.
        low: Lower end of the interval, if there is one.
        high: Upper end.
        reference: A number to compare with, such as a reported one.
    """

    name: str
    text: str
    css: str
    mean: float
    low: float | None = None
    high: float | None = None
    reference: float | None = None


@dataclass(frozen=True)
class Dot:
    """A value in the picture's coordinates."""

    name: str
    full_name: str
    text: str
    css: str
    y: float
    x: float
    low: float | None
    high: float | None
    reference: float | None


@dataclass(frozen=True)
class DotChart:
    """Values with intervals, one a row."""

    title: str
    alt: str
    x_label: str
    x_ticks: tuple[Tick, ...]
    dots: tuple[Dot, ...]
    zero: float | None
    height: int
    left: float
    width: int = WIDTH
    right: int = WIDTH - RIGHT
    top: int = TOP

    @property
    def bottom(self) -> int:
        """Where the rows end."""
        return self.height - BOTTOM


class _Scale:
    """From values to positions."""

    def __init__(self, low: float, high: float, begin: float, end: float, log: bool) -> None:
        self._map = math.log10 if log else float
        self._low, span = self._map(low), self._map(high) - self._map(low)
        self._begin, self._factor = begin, (end - begin) / (span or 1.0)

    def __call__(self, value: float) -> float:
        return round(self._begin + (self._map(value) - self._low) * self._factor, 1)


def line_chart(
    title: str, x_label: str, y_label: str, series: Sequence[Series], axis: Axis = "linear"
) -> LineChart:
    """Return curves as a picture.

    Args:
        title: What stands above.
        x_label: With the unit.
        y_label: With the unit.
        series: At least one, each with at least one point; with a ``log`` axis x is positive.
        axis: The kind of the axis of x; ``whole`` has ticks at whole numbers only.
    """
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points]
    ys += [end for one in series for _, *ends in one.band for end in ends]
    x_values = _ticks(min(xs), max(xs), axis)
    y_values = _ticks(*_padded(min(ys), max(ys)))
    # The axis of x ends where the curves do, that of y at ticks.
    ends = (min(xs), max(xs)) if min(xs) < max(xs) else (min(xs) - 0.5, max(xs) + 0.5)
    if axis == "whole":
        ends = (min(xs) - 0.15, max(xs) + 0.15)
    x_at = _Scale(*ends, LEFT, WIDTH - RIGHT, axis == "log")
    y_at = _Scale(y_values[0], y_values[-1], HEIGHT - BOTTOM, TOP, False)
    return LineChart(
        title,
        f"{title}: {y_label} by {x_label}. "
        + "; ".join(f"{one.name} ends at {_text(one.points[-1][1])}" for one in series),
        x_label,
        y_label,
        tuple(Tick(x_at(v), _text(v)) for v in x_values if ends[0] <= v <= ends[1]),
        tuple(Tick(y_at(v), _text(v)) for v in y_values),
        tuple(_curve(one, x_at, y_at) for one in series),
    )


def dot_chart(title: str, x_label: str, values: Sequence[Value], zero: bool = False) -> DotChart:
    """Return values with intervals as a picture.

    Args:
        title: What stands above.
        x_label: With the unit.
        values: At least one, from top to bottom.
        zero: Whether zero is part of the axis, and marked.
    """
    ends = [
        end for v in values for end in (v.mean, v.low, v.high, v.reference) if end is not None
    ] + ([0.0] if zero else [])
    ticks = _ticks(*_padded(min(ends), max(ends)))
    widest = max(len(value.name) for value in values) * CHARACTER + 12
    left = round(min(LABEL_WIDTH, max(40, widest)), 1)
    at = _Scale(ticks[0], ticks[-1], left + 6, WIDTH - RIGHT - 6, False)

    def maybe(value: float | None) -> float | None:
        return None if value is None else at(value)

    most = int((left - 8) / CHARACTER)
    dots = tuple(
        Dot(
            v.name if len(v.name) <= most else v.name[: most - 1] + "…",
            v.name,
            v.text,
            v.css,
            TOP + ROW * (row + 0.5),
            at(v.mean),
            maybe(v.low),
            maybe(v.high),
            maybe(v.reference),
        )
        for row, v in enumerate(values)
    )
    said = "; ".join(f"{v.name} {v.text}" for v in values)
    return DotChart(
        title,
        f"{title}: {x_label}. {said}",
        x_label,
        tuple(Tick(at(value), _text(value)) for value in ticks),
        dots,
        at(0) if zero else None,
        TOP + ROW * len(values) + BOTTOM,
        left,
    )


def _curve(series: Series, x_at: _Scale, y_at: _Scale) -> Curve:
    points = tuple((x_at(x), y_at(y)) for x, y in series.points)
    lower = [(x_at(x), y_at(low)) for x, low, _ in series.band]
    upper = [(x_at(x), y_at(high)) for x, _, high in series.band]
    area = f"{_path([*lower, *reversed(upper)])}Z" if lower else ""
    marked = series.dots or len(points) == 1
    return Curve(series.name, series.css, _path(points), area, points if marked else ())


def _path(points: Sequence[Point]) -> str:
    return "M" + " ".join(f"{x:g} {y:g}" for x, y in points)


def _ticks(low: float, high: float, axis: Axis = "linear") -> list[float]:
    if axis == "log":
        values = LogLocator(subs=(1.0, 2.0, 5.0)).tick_values(low, high)
        inside = [float(v) for v in values if low <= v <= high]
        return [v for v in inside if f"{v:e}"[0] == "1"] if len(inside) > 6 else inside
    locator = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=axis == "whole", min_n_ticks=2)
    return [round(float(v), 10) for v in locator.tick_values(low, high)]


def _padded(low: float, high: float) -> tuple[float, float]:
    """Widen a range that is a single value, so that it has ticks."""
    if high - low > 1e-9:
        return low, high
    margin = abs(low) * 0.05 or 0.5
    return low - margin, high + margin


def _text(value: float) -> str:
    """Return a number for an axis."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", "−")
