"""Which colour and line a method has, everywhere on a page.

Colours are named, not given: the style sheet knows one set for light and one for dark. Dashes tell
apart what a colour-blind reader, or a printer, cannot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from im_bench.report.page.charts import swatch
from im_bench.report.page.svg import Drawing
from im_bench.report.tables.entries import Column, ResultsTable

COLOURS = 8
#: Methods that one chart can show; those with all labels apart.
MOST = 2 * COLOURS
#: Likewise, methods that use all labels.
MOST_GREY = 4


@dataclass(frozen=True)
class MethodStyle:
    """A method as the legend shows it.

    Attributes:
        method: Name in the suite.
        title: Name in tables.
        look: Names of the colour and of the line, such as ``c0 d1``.
    """

    method: str
    title: str
    look: str

    @property
    def swatch(self) -> Drawing:
        """What the legend shows beside the name."""
        return swatch(self.look)


def method_styles(table: ResultsTable) -> dict[str, MethodStyle]:
    """Return the styles of the methods that charts show, by name, in the order of the table.

    A method and its ``+im`` share a colour; the plain one is dashed then. Methods that use all
    labels are grey. Where there are more methods than colours and lines, the best ones are shown;
    imported ones, of which there are only scores, are not.
    """
    rows = [row for row in table.rows if not row.origin]
    families = list(dict.fromkeys(row.base or row.method for row in rows if not row.all_labels))
    if sum(not row.all_labels for row in rows) > MOST:
        best = _best(table, families)
        families = [family for family in families if family in best]
    bases = {row.base for row in rows if row.base}
    found = {}
    greys = 0
    for row in rows:
        if row.all_labels:
            if greys < MOST_GREY:
                found[row.method] = MethodStyle(row.method, row.title, f"grey d{greys}")
            greys += 1
        elif (family := row.base or row.method) in families:
            at = families.index(family)
            dash = 2 * (at // COLOURS) + (row.method in bases)
            look = f"c{at % COLOURS} d{dash}"
            found[row.method] = MethodStyle(row.method, row.title, look)
    return found


def _best(table: ResultsTable, families: list[str]) -> set[str]:
    """Return the families that have the best methods, as many as can be shown."""
    places = _places(table)
    members: dict[str, list[str]] = {family: [] for family in families}
    for row in table.rows:
        if row.method in places:
            members[row.base or row.method].append(row.method)
    shown: set[str] = set()
    count = 0
    for family in sorted(families, key=lambda f: min(places[m] for m in members[f])):
        count += len(members[family])
        if count > MOST:
            break
        shown.add(family)
    return shown


def _places(table: ResultsTable) -> dict[str, float]:
    """Return each method's mean place over the columns; one without any number comes last."""
    places: dict[str, list[int]] = {row.method: [] for row in table.rows if not row.section}
    for column in table.columns:
        for place, method in enumerate(_ordered(table, column, places)):
            places[method].append(place)
    return {m: fmean(found) if found else len(places) for m, found in places.items()}


def _ordered(table: ResultsTable, column: Column, methods: Iterable[str]) -> list[str]:
    means = {
        method: entry.mean
        for method in methods
        if (entry := table.entries.get((method, column.data))) and entry.mean is not None
    }
    return sorted(means, key=means.__getitem__, reverse=bool(column.higher))
