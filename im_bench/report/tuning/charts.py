"""What the page of a study draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from im_bench.report.page.charts import Chart, Point, Series, Value, dot_chart, line_chart, swatch
from im_bench.report.page.frame import SETTINGS
from im_bench.report.page.svg import Drawing, drawing
from im_bench.report.tuning.findings import Findings, SearchedField
from im_bench.report.tuning.scatter import CROSS, Dots, mark_style, scatter_chart
from im_bench.report.tuning.texts import value_text
from im_bench.tuning.study import TrialRecord, TrialState

#: How trials look, by what became of them.
COMPLETE, PRUNED, FAILED, BEST, OWN, LINE = (
    "c0 d0",
    "c1 d1",
    "failed d0",
    "c2 d0",
    "c3 d1",
    "ink d0",
)
LOOKS = {TrialState.COMPLETE: COMPLETE, TrialState.PRUNED: PRUNED}
#: The greatest value by the smallest, from which on a chart is logarithmic.
WIDE = 20
#: Trials and curves that one chart shows.
MOST_DOTS, MOST_CURVES = 1000, 80


@dataclass(frozen=True)
class Key:
    """What a legend explains."""

    name: str
    swatch: Drawing


@dataclass(frozen=True)
class Charts:
    """Charts of one kind, and what explains them.

    Attributes:
        shown: The charts.
        legend: What looks how.
        left_out: Trials that are not drawn, since there are too many.
    """

    shown: tuple[Chart, ...]
    legend: tuple[Key, ...]
    left_out: int = 0

    @property
    def drawings(self) -> Iterator[Drawing]:
        """All drawings."""
        yield from (chart.drawing for chart in self.shown)
        yield from (key.swatch for key in self.legend)


def history(found: Findings) -> Charts | None:
    """Draw the values of trials in the order of asking, and the best so far."""
    if found.several or not found.complete:
        return None
    ended = [one for one in found.records if _ended(one) and not one.values]
    pruned = [one for one in ended if one.state is TrialState.PRUNED and _points(one)]
    without = [one for one in ended if one not in pruned]
    complete = _dots("complete", COMPLETE, found.complete, _number, partial(_value, 0))
    layers = [
        complete,
        _dots("pruned", PRUNED, pruned, _number, lambda one: _points(one)[-1][1]),
        _dots("without a value", CROSS, without, _number, lambda one: 0.0),
    ]
    line = list(found.best_so_far.items())
    alt = f"History: the best value {'rises' if found.higher else 'falls'} to "
    alt += value_text(line[-1][1])
    label, wide = _score(found), _wide(found)
    chart = scatter_chart("Values", "trial", label, layers, "whole", line, alt, wide=wide)
    return Charts((chart,), (*_keys(layers), Key("best so far", swatch(LINE))))


def curves(found: Findings) -> Charts | None:
    """Draw what trials reported on their way, those that were pruned ending where they were."""
    drawn = [one for one in found.records if _points(one) and _ended(one)]
    if found.several or not drawn:
        return None
    latest = drawn[-MOST_CURVES:]
    series: list[Series] = []
    for record in sorted(latest, key=lambda one: one.state is not TrialState.COMPLETE):
        if record is found.best:
            continue
        name, look, points = _about(record), LOOKS.get(record.state, FAILED), _points(record)
        series.append(Series(name, look, points, faint=True))
        if record.state is not TrialState.COMPLETE and len(points) > 1:
            series.append(Series(name, look, points[-1:]))
    if found.best is not None and (points := _points(found.best)):
        series.append(Series(f"best: {_about(found.best)}", LINE, points))
    chart = line_chart(
        "On their way",
        "data sets and seeds" if found.definition.pruner == "wilcoxon" else "validations",
        _score(found),
        series,
        "whole",
        f"Curves of {len(latest)} trials",
        _wide(found),
    )
    names = {COMPLETE: "complete", PRUNED: "pruned", FAILED: "failed or lost", LINE: "best"}
    looks = {one.look for one in series}
    keys = [Key(name, swatch(look)) for look, name in names.items() if look in looks]
    return Charts((chart,), tuple(keys), len(drawn) - len(latest))


def slices(found: Findings) -> Charts | None:
    """Draw the values of complete trials over each field."""
    if not found.complete:
        return None
    shown = _thinned(found.complete)
    charts = []
    for objective, name in enumerate(found.objectives):
        for field in found.fields:
            layers = _special(found, shown, partial(_place, field), partial(_value, objective))
            charts.append(
                scatter_chart(
                    field.name,
                    f"{field.name}{', logarithmic' if field.scale == 'log' else ''}",
                    name if found.several else _score(found),
                    layers,
                    "linear" if field.scale == "choice" else field.scale,
                    alt=f"{name} of {len(shown)} trials by {field.name}",
                    names=[str(choice) for choice in field.choices],
                    wide=_wide(found),
                )
            )
    return Charts(tuple(charts), tuple(_keys(layers)), len(found.complete) - len(shown))


def importances(found: Findings) -> Charts | None:
    """Draw which part each field has in a trial being good."""
    shares = found.importances.shares
    if not shares:
        return None
    values = [
        Value(name, f"{share:.2f}", COMPLETE, share, 0.0, share) for name, share in shares.items()
    ]
    return Charts((dot_chart("", "share", values, zero=True),), ())


def front_chart(found: Findings) -> Charts | None:
    """Draw the two values of all trials, and the front beyond which there is none."""
    if not found.front:
        return None
    first, second = found.objectives
    up, across = partial(_value, 0), partial(_value, 1)
    front = set(map(id, found.front))
    others = _thinned([one for one in found.complete if id(one) not in front])
    layers = [
        _dots("other trials", "grey d0", others, across, up),
        _dots("Pareto front", COMPLETE, found.front, across, up),
    ]
    layers += _special(found, [], across, up)[1:]
    line = [(across(one), up(one)) for one in found.front]
    alt = f"Pareto front of {len(found.front)} of {len(found.complete)} trials"
    if found.best is not None:
        alt += f"; best balanced is {_about(found.best)}"
    chart = scatter_chart("", second, first, layers, "linear", line, alt, stairs="pre")
    left_out = len(found.complete) - len(found.front) - len(others)
    return Charts((chart,), tuple(_keys(layers)), left_out)


def _special(
    found: Findings,
    shown: Sequence[TrialRecord],
    x: Callable[[TrialRecord], float],
    y: Callable[[TrialRecord], float],
) -> list[Dots]:
    """Return the dots of trials, and above them the best trial and the method's own values."""
    special = [one for one in (found.best, found.own) if one is not None and one.values]
    layers = [_dots("complete", COMPLETE, [one for one in shown if one not in special], x, y)]
    if found.own is not None and found.own.values:
        layers.append(_dots("the method's own values", OWN, [found.own], x, y, large=True))
    if found.best is not None:
        name = "best balanced" if found.several else "best"
        layers.append(_dots(name, BEST, [found.best], x, y, large=True))
    return layers


def _dots(
    name: str,
    look: str,
    records: Iterable[TrialRecord],
    x: Callable[[TrialRecord], float],
    y: Callable[[TrialRecord], float],
    large: bool = False,
) -> Dots:
    marks = tuple((float(x(one)), float(y(one)), _about(one)) for one in records)
    return Dots(name, look, marks, large)


def _about(record: TrialRecord) -> str:
    """Return what is told of a trial where the pointer rests."""
    values = " and ".join(map(value_text, record.values))
    reason = f" {record.reason}" if record.reason else ""
    return f"trial {record.number}: {values or record.state.value + reason}"


def _number(record: TrialRecord) -> float:
    return record.number


def _value(objective: int, record: TrialRecord) -> float:
    return record.values[objective]


def _place(field: SearchedField, record: TrialRecord) -> float:
    """Return where a trial stands over a field: of a choice that is the place of its value."""
    value = record.params.get(field.name, field.default)
    return field.choices.index(value) if field.scale == "choice" else float(value)


def _points(record: TrialRecord) -> list[Point]:
    """Return what a trial reported, by step, without what is no number."""
    return [(step, value) for step, value in sorted(record.curve.items()) if math.isfinite(value)]


def _score(found: Findings) -> str:
    """Return what is vertical."""
    images = "held-out" if found.definition.hold_out else "validation"
    scale = ", logarithmic" if _wide(found) else ""
    return f"{images} {found.objectives[0]}{scale}"


def _wide(found: Findings) -> bool:
    """Return whether values span orders of magnitude, as errors of bad trials do."""
    if found.higher:
        return False
    reported = [value for one in found.records for _, value in _points(one)]
    values = [*reported, *(one.values[0] for one in found.complete)]
    return min(values) > 0 and max(values) > WIDE * min(values)


def _ended(record: TrialRecord) -> bool:
    return record.state not in (TrialState.WAITING, TrialState.RUNNING, TrialState.SURPLUS)


def _thinned(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return as many trials as a chart can show, evenly."""
    step = max(1, -(-len(records) // MOST_DOTS))
    return list(records[::step])


def _keys(layers: Iterable[Dots]) -> list[Key]:
    return [Key(layer.name, _mark(layer.look)) for layer in layers if layer.marks]


@cache
def _mark(look: str) -> Drawing:
    """Draw what a legend shows of trials: one of their marks."""
    with mpl.rc_context(SETTINGS):
        figure = Figure((26 / 72, 10 / 72), frameon=False)
        figure.add_artist(Line2D([0.5], [0.5], **mark_style(look)))
        return drawing(figure)
