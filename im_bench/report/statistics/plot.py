"""Performance profiles and intervals as a figure, in colours and lines that all can tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from im_bench.errors import ImBenchError
from im_bench.files import atomic_path
from im_bench.report.statistics.estimates import Estimate
from im_bench.report.statistics.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's, without yellow, which is lost on paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINES = ("-", "--", "-.", ":")
SUFFIXES = (".svg", ".png", ".pdf")


def check_plot_path(path: Path) -> None:
    """Make sure that a figure can be written in the format that a name asks for.

    Raises:
        ImBenchError: If the name ends in another.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ImBenchError(
            f"--plot {path}: give the file a name that ends in {', '.join(SUFFIXES)}"
        )


def write_plot(summary: Summary, path: Path) -> None:
    """Write the figure of a suite's statistics.

    Args:
        summary: Of all methods.
        path: A file that ends in .svg, .png or .pdf.

    Raises:
        ImBenchError: If the name ends in another, or the file cannot be written.
    """
    import matplotlib as mpl

    check_plot_path(path)
    form = path.suffix.lower().removeprefix(".")
    # The same numbers give the same file.
    settings: Any = {"svg.hashsalt": "im-bench", "svg.fonttype": "none", "font.size": 9}
    metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[form]
    try:
        with mpl.rc_context(settings), atomic_path(path) as temporary:
            draw(summary).savefig(temporary, format=form, dpi=200, metadata=metadata)
    except OSError as error:
        raise ImBenchError(
            f"cannot write the figure to {path} ({error.strerror}): choose another file with --plot"
        ) from error


def draw(summary: Summary) -> Figure:
    """Return the figure: profiles above, below them intervals of each method and improvement."""
    from matplotlib.figure import Figure

    rows = max(len(summary.methods), len(summary.improvements))
    figure = Figure(figsize=(8, 3.4 + 0.8 + 0.28 * rows), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(3.4, 0.8 + 0.28 * rows))
    above, below = parts
    _profiles(above.subplots(), summary)
    axes = below.subplots(1, 3 if summary.improvements else 2, squeeze=False)[0]
    names = [one.method for one in summary.methods]
    scale = 100 if summary.baseline else 1
    title = "interquartile mean" + (", %" if summary.baseline else "")
    _intervals(axes[0], names, [one.iqm for one in summary.methods], title, scale)
    _intervals(axes[1], names, [one.rank for one in summary.methods], "mean rank")
    axes[1].set_yticklabels([])
    if summary.improvements:
        shown = [one.comparison for one in summary.improvements if one.comparison.overall]
        _intervals(
            axes[2],
            [f"{one.sides[0]} > {one.sides[1]}" for one in shown],
            [one.overall.probability for one in shown if one.overall],
            "probability to improve, %",
            100,
        )
        axes[2].axvline(50, color="#777777", linewidth=0.8, linestyle=":")
        axes[2].set_xlim(-2, 102)
    figure.suptitle(f"{summary.name}: 95 % intervals, where runs suffice for one")
    return figure


def _profiles(axes: Axes, summary: Summary) -> None:
    scale = 100 if summary.baseline else 1
    taus = [scale * tau for tau in summary.taus]
    for i, one in enumerate(summary.methods):
        colour = COLOURS[i % len(COLOURS)]
        # Colour and line repeat at different paces, so that 28 methods differ.
        line = LINES[i % len(LINES)]
        shares = [100 * share for share in one.profile]
        axes.step(
            taus, shares, where="pre", color=colour, linestyle=line, linewidth=1.6, label=one.method
        )
        if one.band:
            low, high = ([100 * share for share in limit] for limit in one.band)
            axes.fill_between(taus, low, high, step="pre", color=colour, alpha=0.12, linewidth=0)
    score = f"gain over {summary.baseline}, %" if summary.baseline else "normalised score"
    axes.set_xlabel(f"{score}, at least")
    axes.set_ylabel("runs, %")
    axes.set_ylim(-2, 102)
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, handlelength=3)


def _intervals(
    axes: Axes, names: list[str], estimates: list[Estimate], title: str, scale: float = 1
) -> None:
    for place, estimate in enumerate(estimates):
        if estimate.interval:
            low, high = estimate.interval
            axes.hlines(place, scale * low, scale * high, color="#0072B2")
    values = [scale * estimate.value for estimate in estimates]
    axes.plot(values, range(len(values)), "o", color="#0072B2", markersize=4)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_title(title, fontsize=9)
    axes.grid(axis="x", color="#dddddd", linewidth=0.5)
