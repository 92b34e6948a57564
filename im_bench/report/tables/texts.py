"""The words of tables: numbers, holes and headings as every format prints them."""

from __future__ import annotations

from im_bench.evaluation.registry import title_of
from im_bench.report.tables.entries import Column, Entry, GenerationRow

QUANTITIES = {
    "images_kept": "images kept %",
    "pixels_kept": "pixels kept %",
    "label_accuracy": "right labels %",
}
MEAN_RANK = "mean rank"


def number(value: float, unit: str, sign: bool = False) -> str:
    """Return a number as tables print it: shares in per cent, counts as they are, one decimal."""
    scaled = round(100 * value if unit == "%" else value, 1) + 0.0
    return f"{scaled:{'+' if sign else ''}.1f}".replace("-", "−")


def spread(entry: Entry, unit: str, usual: int = 0) -> str:
    """Return what follows a mean: `` ± 0.4``, and `` (n = 5)`` where that is not the usual one.

    Args:
        entry: Whose spread it is.
        unit: Of its column.
        usual: How many seeds the footer speaks of; 0 if it speaks of none.
    """
    text = f" ± {number(entry.std, unit)}" if entry.std is not None else ""
    unusual = usual and entry.complete and entry.n not in (0, usual)
    return f"{text} (n = {entry.n})" if unusual else text


def measured(entry: Entry, unit: str, spread_too: bool = True) -> str:
    """Return ``61.2 ± 0.4``, ``61.2``, or an empty string."""
    if entry.mean is None:
        return ""
    return number(entry.mean, unit) + (spread(entry, unit) if spread_too else "")


def gain(entry: Entry, unit: str) -> str:
    """Return ``(+1.4)``: the mean minus that of the base; or an empty string."""
    return "" if entry.gain is None else f"({number(entry.gain, unit, sign=True)})"


def hole(entry: Entry) -> str:
    """Return what is missing: ``failed``, ``2 of 3, failed``, or an empty string."""
    if entry.complete:
        return ""
    return f"{entry.n} of {len(entry.seeds)}, {entry.state.value}" if entry.n else entry.state.value


def reported(entry: Entry, unit: str) -> str:
    """Return ``75.1 (−0.3)``: the reported number, and ours minus it."""
    if entry.reported is None:
        return ""
    text = f"{'≈ ' if entry.approximate else ''}{number(entry.reported, unit)}"
    if entry.difference is None:
        return text
    return f"{text} ({number(entry.difference, unit, sign=True)})"


def heading(column: Column) -> str:
    """Return the metric with its unit and the direction in which it is better: ``IoU % ↑``."""
    if not column.metric:
        return ""
    name = title_of(column.metric)
    arrow = "↑" if column.higher else "↓"
    return f"{name} % {arrow}" if column.unit == "%" else f"{name} {arrow}"


def mean_rank(value: float | None) -> str:
    """Return ``1.8``, or a dash where there is none."""
    return "–" if value is None else f"{value:.1f}"


def generation_texts(row: GenerationRow) -> tuple[str, list[str]]:
    """Return a row's title, with what is missing in all of its generations, and its numbers."""
    if row.quantity != "test":
        return QUANTITIES[row.quantity], [measured(e, "%", False) for e in row.entries]
    missing = hole(row.entries[0])
    title = f"{row.title}: {missing}" if missing else row.title
    return title, [measured(entry, row.column.unit) for entry in row.entries]
