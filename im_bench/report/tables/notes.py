"""The footers of tables: what was done, so that nobody reads more into a number than there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from im_bench.evaluation.registry import metric_class
from im_bench.methods.names import untuned_name
from im_bench.planning.plan import Plan
from im_bench.report.labelled import labelled_images
from im_bench.report.reference import ReportedNumber
from im_bench.report.tables.columns import columns_of
from im_bench.report.tables.entries import Column, Row
from im_bench.report.tables.matching import Comparison, protocol_of
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage, generation_role
from im_bench.training.momentum import ORIGINAL, norm_momentum


def results_notes(
    plan: Plan, store: Store, columns: Sequence[Column], rows: Sequence[Row], comparison: Comparison
) -> tuple[str, ...]:
    """Return the footer of a results table, one sentence or two a line.

    Args:
        plan: What was asked for.
        store: Where the origin of the results stands.
        columns: Of the table.
        rows: Of the table, with their mean ranks.
        comparison: The reported numbers, those that the table shows and the others.
    """
    return tuple(
        note
        for note in (
            _budget(plan),
            _selection(plan),
            _evaluation(plan, columns),
            _momentum(plan, store, columns),
            _metrics(columns),
            _generations(plan),
            _seeds(plan),
            _labels(plan, store, columns),
            "Best bold, second underlined, among complete entries; methods that use all labels "
            "stand apart and are not ranked. Holes are marked, never averaged over.",
            _gains(rows),
            _mean_ranks(columns, rows),
            *plan.suite.notes,
            *_reported(plan, columns, comparison.chosen),
            *_not_shown(columns, comparison),
            _origin(plan, store),
            _synthetic(plan),
            *dict.fromkeys(f"Left out: {cell.problem}" for cell in plan.cells if cell.problem),
        )
        if note
    )


def generation_notes(plan: Plan, store: Store) -> tuple[str, ...]:
    """Return the footer of a table of generations."""
    return tuple(
        note
        for note in (
            _budget(plan),
            "Test: the best training of each generation by validation."
            if plan.suite.scores == "test"
            else _selection(plan),
            _momentum(plan, store, list(columns_of(plan, {}).values())),
            _generations(plan),
            _seeds(plan),
            "Shares are of the unlabelled training images: images kept, pixels kept of these, and "
            "right ones among the kept pixels (by labels that no training sees).",
            _synthetic(plan),
        )
        if note
    )


def protocol_notes(plan: Plan, store: Store) -> tuple[str, ...]:
    """Return what statistics must say of how their numbers were made."""
    columns = list(columns_of(plan, {}).values())
    return tuple(
        note
        for note in (
            _budget(plan),
            _selection(plan),
            _evaluation(plan, columns),
            _momentum(plan, store, columns),
            _generations(plan),
            _labels(plan, store, columns),
            *plan.suite.notes,
            _origin(plan, store),
            _synthetic(plan),
        )
        if note
    )


def origin_note(plan: Plan, store: Store) -> str:
    """Return with which commits and versions the results were made; empty if there are none."""
    return _origin(plan, store)


def _budget(plan: Plan) -> str:
    if plan.budget == "paper":
        return (
            f"Budget 'paper': {plan.suite.budgets.paper.epochs} epochs per training, so that more "
            "training images mean more iterations."
        )
    return f"Budget 'equal': {plan.suite.budgets.equal.iterations} iterations for every training."


def _selection(plan: Plan) -> str:
    if plan.suite.scores == "val":
        return (
            "Scores are of validation images, which a search tries values on: they are no results; "
            "the test images are not read."
        )
    if plan.suite.training.keep == "last":
        return (
            "Selection: a training leaves its last network; among trainings by validation; the "
            "test images are read once, at the end."
        )
    return (
        "Selection: by validation only, both within a training and among trainings; "
        "the test images are read once, at the end."
    )


def _evaluation(plan: Plan, columns: Sequence[Column]) -> str:
    """Say how images pass through the networks, on which published numbers depend."""
    data: dict[str, list[str]] = {}
    for column in columns:
        data.setdefault(plan.suite.data[column.data].evaluation.text, []).append(column.data)
    return f"Evaluation: {_list(f'{how} ({_names(who, columns)})' for how, who in data.items())}."


def _momentum(plan: Plan, store: Store, columns: Sequence[Column]) -> str:
    """Say where the U-Net's batch normalisation is not the original's, which changes scores."""
    suite = plan.suite
    length = suite.budgets.paper if plan.budget == "paper" else suite.budgets.equal
    budget = {"kind": plan.budget, **length.model_dump()}
    found: dict[str, list[str]] = {}
    for column in columns:
        model = suite.data[column.data].model
        packed = plan.packed(column.data)
        result = (store.result(packed) if packed is not None else None) or {}
        labelled = result.get("outcome", {}).get("labelled")
        unknown = model.norm_momentum is None and plan.budget == "paper" and labelled is None
        if unknown or model.backbone is not None:
            continue
        value = norm_momentum(model.norm_momentum, budget, suite.training.batch, labelled or 0)
        if value != ORIGINAL:
            why = " by the number of iterations" if model.norm_momentum is None else ""
            found.setdefault(f"{value:.2g}{why}", []).append(column.data)
    if not found:
        return ""
    said = _list(f"{value} ({_names(who, columns)})" for value, who in found.items())
    return f"Batch normalisation of the U-Net: momentum {said}; the original's is {ORIGINAL}."


def _metrics(columns: Sequence[Column]) -> str:
    """Say what each score is: definitions of one name differ."""
    data: dict[str, list[str]] = {}
    for column in columns:
        if column.metric and metric_class(column.metric).definition:
            data.setdefault(column.metric, []).append(column.data)
    said = [
        f"{kind.title} ({_names(who, columns)}) is {kind.definition}"
        for metric, who in data.items()
        for kind in (metric_class(metric),)
    ]
    return f"Scores: {'; '.join(said)}." if said else ""


def _generations(plan: Plan) -> str:
    finals = [plan.graph[key] for cell in plan.cells for key in cell.finals.values()]
    rules = {stage.config["report"] for stage in finals if generation_role(2) in stage.inputs}
    said = {"last": "the last", "best": "the best by validation"}
    if not rules:
        return ""
    return f"Of several generations, {_list(said.get(rule, rule) for rule in rules)} is shown."


def _seeds(plan: Plan) -> str:
    seeds = sorted({seed for cell in plan.cells for seed in cell.finals})
    if len(seeds) == 1:
        return f"One seed ({seeds[0]}): no statement about spread."
    return f"Mean ± standard deviation over seeds {_list(seeds)}; 'k of n': seeds are missing."


def _labels(plan: Plan, store: Store, columns: Sequence[Column]) -> str:
    """Say how many training images are labelled, or which share before the data are packed."""
    data: dict[str, list[str]] = {}
    for column in columns:
        found = labelled_images(plan, store, column.data)
        share = (
            "the list that comes with the data"
            if column.split == "file"
            else f"{float(column.split):.0%}"
        )
        data.setdefault(found.text if found else share, []).append(column.data)
    shares = [f"{text} of {_names(who, columns)}" for text, who in data.items()]
    return f"Labelled: {'; '.join(shares)}."


def _gains(rows: Sequence[Row]) -> str:
    added = [row for row in rows if row.base]
    if not added:
        return ""
    tuned = [row for row in added if row.base == untuned_name(row.method)]
    kinds = ["'+ IM'"] if len(added) > len(tuned) else []
    kinds += ["tuned values"] if tuned else []
    return (
        f"In parentheses beside a method with {' or '.join(kinds)}: its mean minus that of the "
        "method without, where both are complete."
    )


def _mean_ranks(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    ranked = sum(row.mean_rank is not None for row in rows)
    if not ranked:
        return ""
    left = sum(not row.section for row in rows) - ranked
    return (
        f"Mean rank over {len(columns)} data sets and splits, among the {ranked} methods that are "
        f"complete in all of them{f'; {left} with holes have none' if left else ''}."
    )


def _reported(
    plan: Plan, columns: Sequence[Column], chosen: Mapping[tuple[str, str], ReportedNumber]
) -> list[str]:
    if not chosen:
        return []
    numbers = list(chosen.values())
    mark = "; ≈: read from a figure" if any(number.approximate for number in numbers) else ""
    lines = [f"Below an entry: the reported number (ours minus it){mark}."]
    lines += dict.fromkeys(f"Reported: {n.source}: {n.protocol}." for n in numbers)
    for note in dict.fromkeys(note for n in numbers for note in n.notes.split("; ") if note):
        data = [data for (_, data), n in chosen.items() if note in n.notes]
        lines.append(f"On {_names(data, columns)}: {note}.")
    strides = {
        f"{n.output_stride}, not {ours.output_stride} as ours ({n.source})"
        for (_, data), n in chosen.items()
        if (ours := protocol_of(plan.suite.data[data], ""))
        and n.output_stride not in ("", ours.output_stride)
    }
    lines += [f"Reported with output stride {stride}." for stride in sorted(strides)]
    if plan.budget != "paper":
        lines.append("The reported numbers were trained under the budget 'paper', not 'equal'.")
    return lines


def _not_shown(columns: Sequence[Column], comparison: Comparison) -> list[str]:
    """Say which reported numbers do not stand in the table, and why."""
    lines = []
    if comparison.same:
        also = dict.fromkeys(number.source for number in comparison.same)
        lines.append(f"Some numbers are also reported, under the same protocol, by: {_list(also)}.")
    by_differences: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for (source, differences), data in comparison.other.items():
        by_differences.setdefault(differences, {})[source] = data
    for differences, sources in by_differences.items():
        data = [name for names in sources.values() for name in names]
        lines.append(
            f"Reported under another protocol and not compared: {_list(sources)} on "
            f"{_names(data, columns)}: {'; '.join(differences)}."
        )
    return lines


def _origin(plan: Plan, store: Store) -> str:
    """Say with which commits and versions the results were made."""
    finals = (plan.graph[key] for cell in plan.cells for key in cell.finals.values())
    made = [last for stage in finals if (last := _provenance(store, stage))]
    if not made:
        return ""
    commits = _list(
        dict.fromkeys(
            f"{str(one['commit'])[:10]}{' with changes' if one.get('dirty') else ''}"
            for one in made
            if one.get("commit")
        )
    )
    versions = dict.fromkeys(
        f"{name} {version}"
        for one in made
        for name, version in sorted((one.get("versions") or {}).items())
        if name in ("im-bench", "python", "torch")
    )
    return f"Made with {_list(versions) or 'unknown versions'}, commit {commits or 'unknown'}."


def _provenance(store: Store, stage: Stage) -> dict[str, Any] | None:
    if store.result(stage) is None:
        return None
    return next(reversed(store.folder(stage).provenances()), None)


def _synthetic(plan: Plan) -> str:
    drawn = dict.fromkeys(c.data for c in plan.cells if plan.suite.data[c.data].synth is not None)
    if not drawn:
        return ""
    return f"{_list(drawn)}: built-in, drawn data; numbers on them are no benchmark."


def _names(data: Iterable[str], columns: Sequence[Column]) -> str:
    """Return data sets by the names of their columns: ``cityscapes 1/16, 1/8``."""
    wanted = set(data)
    found: dict[str, list[str]] = {}
    for column in columns:
        if column.data in wanted:
            found.setdefault(column.group or column.data, []).append(column.label)
    return _list(f"{name} {_list(labels)}" if labels[0] else name for name, labels in found.items())


def _list(items: Iterable[object]) -> str:
    return ", ".join(str(item) for item in items)
