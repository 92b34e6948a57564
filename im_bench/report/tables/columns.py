"""The columns of a results table: a data set each, the splits of one data set together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from im_bench.planning.plan import Plan
from im_bench.report.tables.entries import Column

#: Names that say that they are one share of a data set: ``cityscapes-1-16``.
SHARE = re.compile(r"(?P<stem>.+)-(?P<label>1-\d+)")


def columns_of(plan: Plan, metrics: Mapping[str, str]) -> dict[str, Column]:
    """Return the columns by data set, in the order of the suite, those of a group together.

    A group is what the suite calls one, or else what names of the form ``STEM-1-N`` have in common;
    a column that is the only one of its group stands alone, under its full name.

    Args:
        plan: Says which data sets there are.
        metrics: The headline of each; empty until a result says it.
    """
    splits = {cell.data: cell.split for cell in plan.cells}
    groups = {data: plan.suite.data[data].group or _stem(data) for data in splits}
    sizes = Counter(groups.values())
    first = {group: place for place, group in reversed(list(enumerate(groups.values())))}
    found = {}
    for data in sorted(splits, key=lambda data: first[groups[data]]):
        group = groups[data] if sizes[groups[data]] > 1 and groups[data] != data else ""
        label = _label(data, group) if group else ""
        found[data] = Column(data, splits[data], metrics.get(data, ""), group, label)
    return found


def _stem(data: str) -> str:
    match = SHARE.fullmatch(data)
    return match["stem"] if match else data


def _label(data: str, group: str) -> str:
    """Return ``1/16`` for ``cityscapes-1-16`` in the group ``cityscapes``."""
    rest = data.removeprefix(f"{group}-")
    return rest.replace("-", "/") if re.fullmatch(r"\d+-\d+", rest) else rest
