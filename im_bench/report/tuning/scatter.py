"""Charts of dots: trials over a field, over their numbers, or over another value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes

from im_bench.report.page.charts import CHARACTER, Chart, Point
from im_bench.report.page.frame import (
    HEIGHT,
    LEFT,
    RIGHT,
    SETTINGS,
    WIDTH,
    Axis,
    dot_style,
    framed,
    locator,
    log_y,
    scale_x,
    shortened,
    tick_text,
)
from im_bench.report.page.svg import TITLE, colour, drawing

#: Look of what has no value: a cross at the foot of the chart.
CROSS = "failed x"
#: Dots of one look up to which each tells its own name.
MOST_NAMED = 400
SIZE, SMALL, LARGE = 6, 4, 9
#: Share of the axis that is kept free on each side, so that dots lie within the frame.
MARGIN = 0.03


@dataclass(frozen=True)
class Dots:
    """Dots of one look.

    Attributes:
        name: What they have in common.
        look: Their colour and kind.
        marks: (x, y, what is told where the pointer rests); y of a cross does not matter.
        large: Whether they stand out.
    """

    name: str
    look: str
    marks: Sequence[tuple[float, float, str]]
    large: bool = False


def scatter_chart(
    title: str,
    x_label: str,
    y_label: str,
    layers: Sequence[Dots],
    axis: Axis = "linear",
    line: Sequence[Point] = (),
    alt: str = "",
    names: Sequence[str] = (),
    stairs: Literal["pre", "post"] = "post",
    wide: bool = False,
) -> Chart:
    """Draw dots.

    Args:
        title: What stands above.
        x_label: With the unit.
        y_label: With the unit.
        layers: What is drawn, the upper ones last; at least one dot that has a value.
        axis: The kind of the axis of x; with ``log`` all x are positive.
        line: Steps to draw below the dots, by x.
        alt: The same for those who cannot see it.
        names: Of x = 0, 1, ..., where x is no number.
        wide: Whether y spans orders of magnitude, and is drawn logarithmically.
        stairs: Whether the line's steps come before or after its points.
    """
    with mpl.rc_context(SETTINGS):
        figure, axes = framed(LEFT, HEIGHT, x_label)
        axes.yaxis.set_major_locator(locator())
        axes.yaxis.set_major_formatter(tick_text)
        if line:
            axes.plot(
                *zip(*line, strict=True),
                color=colour("ink"),
                linewidth=1.5,
                drawstyle=f"steps-{stairs}",
            )
        for layer in layers:
            _draw(axes, layer)
        xs = [x for layer in layers for x, _, _ in layer.marks]
        scale_x(axes, xs, axis)
        _widen(axes, axis)
        if names:
            most = int((WIDTH - LEFT - RIGHT) / len(names) / CHARACTER) - 1
            axes.set_xticks(range(len(names)), [shortened(name, most) for name in names])
            axes.set_xlim(-0.5, len(names) - 0.5)
        if wide:
            log_y(axes, [y for one in layers if one.look != CROSS for _, y, _ in one.marks])
        axes.tick_params(axis="y", pad=6)
        axes.grid(axis="y")
        picture = drawing(figure, alt)
    return Chart(title, y_label, alt, picture, tuple(layer.name for layer in layers))


def mark_style(look: str, size: float = SIZE) -> dict[str, Any]:
    """Return how a dot or cross looks."""
    if look == CROSS:
        return {
            "color": colour("failed"),
            "linestyle": "none",
            "marker": "x",
            "markersize": size,
            "markeredgewidth": 1.5,
        }
    return {**dot_style(look, size), "linestyle": "none"}


def _draw(axes: Axes, layer: Dots) -> None:
    many = len(layer.marks) > MOST_NAMED // 2
    style = mark_style(layer.look, LARGE if layer.large else SMALL if many else SIZE)
    if many:
        style["markeredgewidth"] = 0.5
    if layer.look == CROSS:
        style["transform"] = axes.get_xaxis_transform()
    named = len(layer.marks) <= MOST_NAMED
    groups = [[mark] for mark in layer.marks] if named else [list(layer.marks)]
    for group in groups:
        xs = [x for x, _, _ in group]
        ys = [MARGIN if layer.look == CROSS else y for _, y, _ in group]
        about = group[0][2] if named else layer.name
        axes.plot(xs, ys, gid=f"{TITLE}{about}", **style)


def _widen(axes: Axes, axis: Axis) -> None:
    """Let the outermost dots lie within the frame."""
    low, high = axes.get_xlim()
    if axis == "log":
        by = (high / low) ** MARGIN
        axes.set_xlim(low / by, high * by)
    else:
        by = MARGIN * (high - low)
        axes.set_xlim(low - by, high + by)
