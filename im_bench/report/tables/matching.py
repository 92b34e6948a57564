"""Which reported number may stand beside which of ours: the one that was made in the same way."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

from im_bench.planning.plan import Cell, Plan
from im_bench.report.reference import References, ReportedNumber
from im_bench.report.tables.entries import Column, Row
from im_bench.suites.graph import generations_of
from im_bench.suites.schema import DataSpec
from im_bench.training.specs import ModelSpec

Key = tuple[str, str]


@dataclass(frozen=True)
class Protocol:
    """What of ours must agree with a reported number, as the suite's fields say it.

    Attributes:
        data: Name in the reference tables.
        family: Which lists of labelled images; ``random`` where the suite draws them.
        split: Which of them.
        backbone: Such as ``ResNet-50``.
        metric: Empty until the first result says it.
        output_stride: Of the encoder; empty where its config does not say it.
    """

    data: str
    family: str
    split: str
    backbone: str
    metric: str
    output_stride: str

    def differences(self, number: ReportedNumber) -> tuple[str, ...]:
        """Return in what a number of the same data set was made otherwise; empty if comparable."""
        pairs = {
            "backbone": (number.backbone, self.backbone),
            "split family": (number.family, self.family),
            "split": (number.split, self.split),
            "metric": (number.metric, self.metric or number.metric),
        }
        if number.split == "all":
            del pairs["split"], pairs["split family"]
        return tuple(
            f"{name} {theirs or 'not stated'}, not {ours or 'known here'}"
            for name, (theirs, ours) in pairs.items()
            if theirs != ours or not theirs
        )


@dataclass(frozen=True)
class Comparison:
    """The reported numbers of a table.

    Attributes:
        chosen: What stands beside ours, by (method, data set).
        same: Further numbers under the same protocol.
        other: Numbers under other protocols: the data sets that they are of, by source and by in
            what they differ.
    """

    chosen: Mapping[Key, ReportedNumber]
    same: tuple[ReportedNumber, ...] = ()
    other: Mapping[tuple[str, tuple[str, ...]], list[str]] = field(default_factory=dict)


def compare(
    plan: Plan, columns: Mapping[str, Column], rows: Iterable[Row], numbers: References
) -> Comparison:
    """Choose the reported numbers that stand beside ours.

    A number is comparable if backbone, split family, split and metric agree. Of several, exact ones
    go before those read from figures, those with our output stride before others, and then those
    of the source that has most of the table's numbers, so that its rows stay comparable.
    """
    protocols = {
        data: protocol
        for data, column in columns.items()
        if (protocol := protocol_of(plan.suite.data[data], column.metric)) is not None
    }
    all_labels = {row.method for row in rows if row.all_labels}
    known: dict[Key, list[ReportedNumber]] = {}
    for number in numbers:
        if not number.variant:
            known.setdefault((number.method, number.data), []).append(number)
    candidates: dict[Key, list[tuple[ReportedNumber, tuple[str, ...]]]] = {}
    for cell in plan.cells:
        protocol = protocols.get(cell.data)
        if protocol is not None:
            candidates[cell.method, cell.data] = [
                (number, protocol.differences(number))
                for number in known.get((cell.method, protocol.data), ())
                if number.generation in ("", str(_rounds(cell, plan)))
                and (number.split == "all") == (cell.method in all_labels)
            ]
    coverage = Counter(
        source
        for found in candidates.values()
        for source in {number.source for number, differences in found if not differences}
    )
    chosen: dict[Key, ReportedNumber] = {}
    same: list[ReportedNumber] = []
    other: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (method, data), found in candidates.items():
        stride = protocols[data].output_stride
        equal = sorted(
            (number for number, differences in found if not differences),
            key=lambda number: (
                number.approximate,
                bool(number.output_stride and stride and number.output_stride != stride),
                -coverage[number.source],
            ),
        )
        if equal:
            chosen[method, data] = equal[0]
            same += equal[1:]
        for source, differences in _nearest(found):
            other.setdefault((source, differences), []).append(data)
    return Comparison(chosen, tuple(same), other)


def protocol_of(spec: DataSpec, metric: str) -> Protocol | None:
    """Return how a suite measures on a data set; None if that is no data set of the papers.

    Drawn images are none, and neither is a part of a data set.
    """
    if spec.reference is None or spec.synth is not None or spec.limit:
        return None
    data, family, split = (*spec.reference.split("/", 2), "", "")[:3]
    if not family and spec.labelled != "file":
        family, split = "random", _fraction(spec.labelled)
    return Protocol(data, family, split, backbone_of(spec.model), metric, _stride_of(spec.model))


def backbone_of(model: ModelSpec) -> str:
    """Return what papers call a network's backbone, or its registered name."""
    if model.backbone is None:
        return "1x1 U-Net"
    name = str(model.backbone.get("type"))
    if name == "DINOv2":
        size = str(model.backbone.get("size", "s")).upper()
        return f"DINOv2-{size}{' (other width)' if model.backbone.get('options') else ''}"
    if not re.fullmatch(r"ResNet(V1[bcd])?", name):
        return name
    channels = model.backbone.get("base_channels", 64)
    return f"ResNet-{model.backbone.get('depth')}{'' if channels == 64 else f' ({channels} wide)'}"


def _stride_of(model: ModelSpec) -> str:
    if model.backbone is None or not str(model.backbone.get("type")).startswith("ResNet"):
        return ""
    return str(4 * prod(model.backbone.get("strides", (1, 2, 2, 2))))


def _fraction(share: float) -> str:
    """Return ``1/10`` for 0.1, and other shares as they are."""
    whole = round(1 / share)
    return f"1/{whole}" if abs(share * whole - 1) < 1e-9 else str(share)


def _rounds(cell: Cell, plan: Plan) -> int:
    return len(generations_of(plan.graph[next(iter(cell.finals.values()))].inputs))


def _nearest(
    found: Iterable[tuple[ReportedNumber, tuple[str, ...]]],
) -> list[tuple[str, tuple[str, ...]]]:
    """Return, for each source without a comparable number, in what its nearest ones differ."""
    by_source: dict[str, list[tuple[str, ...]]] = {}
    for number, differences in found:
        by_source.setdefault(number.source, []).append(differences)
    return [
        (source, differences)
        for source, several in by_source.items()
        if (fewest := min(map(len, several)))
        for differences in dict.fromkeys(d for d in several if len(d) == fewest)
    ]
