"""The footers of tables: what was done, so that nobody reads more into a number than there is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from im_bench.report.reference import ReportedNumber
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage
from im_bench.suites.plan import Plan


def results_notes(
    plan: Plan, store: Store, reported: Sequence[ReportedNumber] = ()
) -> tuple[str, ...]:
    """Return the footer of a results table, one sentence or two a line.

    Args:
        plan: What was asked for.
        store: Where the origin of the results stands.
        reported: The reported numbers that the table shows.
    """
    return tuple(
        note
        for note in (
            _budget(plan),
            _selection(plan),
            _evaluation(plan),
            _generations(plan),
            _seeds(plan),
            _labels(plan),
            "Best bold, second underlined, among complete entries; methods that use all labels "
            "stand apart and are not ranked. Holes are marked, never averaged over.",
            *_reported(plan, reported),
            _origin(plan, store),
            _synthetic(plan),
            *dict.fromkeys(f"No data: {cell.problem}" for cell in plan.cells if cell.problem),
        )
        if note
    )


def generation_notes(plan: Plan) -> tuple[str, ...]:
    """Return the footer of a table of generations."""
    return tuple(
        note
        for note in (
            _budget(plan),
            "Test: the best training of each generation by validation.",
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
    return tuple(
        note
        for note in (
            _budget(plan),
            _selection(plan),
            _evaluation(plan),
            _generations(plan),
            _labels(plan),
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
    if plan.suite.training.keep == "last":
        return (
            "Selection: a training leaves its last network; among trainings by validation; the "
            "test images are read once, at the end."
        )
    return (
        "Selection: by validation only, both within a training and among trainings; "
        "the test images are read once, at the end."
    )


def _evaluation(plan: Plan) -> str:
    """Say how images pass through the networks, on which published numbers depend."""
    data: dict[str, list[str]] = {}
    for name in dict.fromkeys(cell.data for cell in plan.cells):
        data.setdefault(plan.suite.data[name].evaluation.text, []).append(name)
    return f"Evaluation: {_list(f'{how} ({_list(names)})' for how, names in data.items())}."


def _generations(plan: Plan) -> str:
    finals = [plan.graph[key] for cell in plan.cells for key in cell.finals.values()]
    rules = {stage.config["report"] for stage in finals if "generation-2" in stage.inputs}
    said = {"last": "the last", "best": "the best by validation"}
    if not rules:
        return ""
    return f"Of several generations, {_list(said.get(rule, rule) for rule in rules)} is shown."


def _seeds(plan: Plan) -> str:
    seeds = sorted({seed for cell in plan.cells for seed in cell.finals})
    if len(seeds) == 1:
        return f"One seed ({seeds[0]}): no statement about spread."
    return f"Mean ± standard deviation over seeds {_list(seeds)}; 'k of n': seeds are missing."


def _labels(plan: Plan) -> str:
    data: dict[str, list[str]] = {}
    for cell in plan.cells:
        names = data.setdefault(cell.split, [])
        if cell.data not in names:
            names.append(cell.data)
    shares = [
        f"{'the list that comes with the data' if split == 'file' else f'{float(split):.0%}'}"
        f" ({_list(names)})"
        for split, names in data.items()
    ]
    return f"Labelled training images: {_list(shares)}."


def _reported(plan: Plan, numbers: Sequence[ReportedNumber]) -> list[str]:
    if not numbers:
        return []
    lines = ["Second line of an entry: the reported number (ours minus it)."]
    lines += [f"Reported: {source}." for source in dict.fromkeys(n.source for n in numbers)]
    for note in dict.fromkeys(note for n in numbers for note in n.notes.split("; ") if note):
        data = _list(dict.fromkeys(n.data for n in numbers if note in n.notes))
        lines.append(f"On {data}: {note}.")
    if plan.budget != "paper":
        lines.append("The reported numbers were trained under the budget 'paper', not 'equal'.")
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


def _list(items: Iterable[object]) -> str:
    return ", ".join(str(item) for item in items)
