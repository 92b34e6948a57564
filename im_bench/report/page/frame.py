"""The frame of a chart: its size, axes, ticks, and how lines and dots look."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.axis import Axis as MatplotlibAxis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from im_bench.report.page.svg import colour

# Lengths are in pixels of the page, which are the points of a figure.
WIDTH, HEIGHT = 360, 232
TOP, RIGHT, BOTTOM, LEFT = 10, 12, 36, 42

#: How lines are drawn, by the name in a method's look.
DASHES: dict[str, Any] = {
    "d0": "-",
    "d1": (0, (5, 4)),
    "d2": (0, (0.5, 4)),
    "d3": (0, (8, 3, 1, 3)),
}
SETTINGS: Any = {
    "axes.autolimit_mode": "round_numbers",
    "axes.axisbelow": True,
    "axes.edgecolor": colour("planned"),
    "axes.labelcolor": colour("quiet"),
    "axes.linewidth": 1,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.xmargin": 0,
    "axes.ymargin": 0,
    "font.size": 11,
    "grid.color": colour("grid"),
    "grid.linewidth": 1,
    "lines.dash_capstyle": "round",
    "lines.linewidth": 2,
    "lines.scale_dashes": False,
    "lines.solid_capstyle": "round",
    "text.parse_math": False,
    "xtick.color": colour("planned"),
    "xtick.labelcolor": colour("quiet"),
    "xtick.major.size": 4,
    "xtick.major.width": 1,
    "ytick.labelcolor": colour("quiet"),
    "ytick.major.size": 0,
}

Axis = Literal["linear", "log", "whole"]


def framed(left: float, height: int, x_label: str, inset: int = 0) -> tuple[Figure, Axes]:
    """Return a figure with the axes at their place."""
    figure = Figure((WIDTH / 72, height / 72), frameon=False)
    width = WIDTH - RIGHT - left
    inner = (width - 2 * inset) / WIDTH, (height - TOP - BOTTOM) / height
    axes = figure.add_axes(((left + inset) / WIDTH, BOTTOM / height, *inner))
    axes.patch.set_visible(False)
    middle = (left + width / 2) / WIDTH
    figure.text(middle, 5 / height, x_label, color=colour("quiet"), ha="center")
    return figure, axes


def dot_style(look: str, size: float, faint: bool = False) -> dict[str, Any]:
    """Return how a method's line and dots look; open ones go with some dashes."""
    name, dashes = look.split()
    own, paper = colour(name, faint), colour("paper")
    is_open = dashes in ("d1", "d3")
    return {
        "color": own,
        "linestyle": DASHES[dashes],
        "marker": "o",
        "markersize": size,
        "markerfacecolor": paper if is_open else own,
        "markeredgecolor": own if is_open else paper,
        "markeredgewidth": 1.8 if is_open else 1,
    }


def scale_x(axes: Axes, xs: Sequence[float], axis: Axis) -> None:
    """End the axis where the curves do."""
    low, high = min(xs), max(xs)
    if axis == "log":
        axes.set_xscale("log")
        by = max(1.0, math.sqrt(10 * low / high))  # A decade at least, for the sake of ticks.
        log_ticks(axes.xaxis, low / by, high * by)
        axes.set_xlim(low / by, high * by)
        return
    axes.xaxis.set_major_locator(locator(axis == "whole"))
    axes.xaxis.set_major_formatter(tick_text)
    margin = 0.15 if axis == "whole" else 0.0 if low < high else 0.5
    axes.set_xlim(low - margin, high + margin)


def log_y(axes: Axes, ys: Iterable[float]) -> None:
    """Make the axis of y logarithmic; all values are positive, those that are no number apart."""
    numbers = [y for y in ys if math.isfinite(y)]
    low, high = min(numbers), max(numbers)
    axes.set_yscale("log")
    log_ticks(axes.yaxis, low, high)
    axes.set_ylim(low / 1.2, high * 1.2)


def log_ticks(axis: MatplotlibAxis, low: float, high: float) -> None:
    """Give a logarithmic axis few ticks."""
    fine = LogLocator(subs=(1.0, 2.0, 5.0))
    few = sum(low <= tick <= high for tick in fine.tick_values(low, high)) <= 6
    axis.set_major_locator(fine if few else LogLocator())
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(tick_text)


def shortened(name: str, most: int) -> str:
    """Return a name in so many characters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def locator(whole: bool = False) -> MaxNLocator:
    """Return what finds some five ticks at round numbers."""
    return MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=whole, min_n_ticks=1 if whole else 2)


def tick_text(value: float, _: float) -> str:
    """Return what stands at a tick."""
    return number_text(round(value, 10))


def number_text(value: float) -> str:
    """Return a number for an axis."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", "−")
