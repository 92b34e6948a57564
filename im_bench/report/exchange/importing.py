"""Results of other groups, beside our own and never among them.

They lie in ``<out>/imported/<suite>-<budget>/<origin>.json``, as they came, and are checked again
whenever a table is made: the suite may have changed since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from im_bench.errors import ImBenchError, unknown_name
from im_bench.files import read_json, write_json
from im_bench.methods.names import registry_name
from im_bench.planning.plan import Cell, Plan
from im_bench.report.exchange.document import FORMAT, VERSION, Document, ExportedCell
from im_bench.report.exchange.exporting import protocols_of, source_of
from im_bench.report.tables.entries import Entry, Row, State


@dataclass(frozen=True)
class Imported:
    """What other groups have of a plan.

    Attributes:
        rows: Of the table; their names hold their origin.
        entries: By (row, data set).
        metrics: The headlines that the files name, by data set.
        notes: Where the rows come from, and what is not shown.
    """

    rows: list[Row] = field(default_factory=list)
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def folder_of(plan: Plan, out: Path) -> Path:
    """Return where the imported files of a suite and budget lie."""
    return out / "imported" / plan.name


def import_file(path: Path, plan: Plan, out: Path, origin: str = "") -> tuple[Path, Document]:
    """Check a file of another group and keep it with the results.

    Args:
        path: What ``im-bench export --format json`` wrote there.
        plan: The suite that it is of.
        out: The results folder.
        origin: What tables call the group; by default what the file says.

    Returns:
        Where it lies now, and what it holds.

    Raises:
        ImBenchError: If the file is none, is of another suite, or was made under another protocol.
    """
    document = read_document(path)
    origin = origin or document.origin
    if not origin:
        raise ImBenchError(f"{path} does not say who made it: give the group a name with --origin")
    document = document.model_copy(update={"origin": origin})
    check(document, plan, str(path))
    target = folder_of(plan, out) / f"{origin}.json"
    write_json(target, document.model_dump(mode="json"))
    return target, document


def read_document(path: Path) -> Document:
    """Read a file of exchanged results.

    Raises:
        ImBenchError: If it cannot be read, or is none of the version that we know.
    """
    try:
        value: Any = read_json(path)
    except OSError as error:
        raise ImBenchError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        value = None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise ImBenchError(
            f"{path} is not the JSON that `im-bench export --format json` writes: ask for that file"
        )
    if value.get("version") != VERSION:
        raise ImBenchError(
            f"{path} has version {value.get('version')} of the schema, and this im-bench reads "
            f"version {VERSION}: use the im-bench that wrote it, or let it be exported anew"
        )
    try:
        return Document.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise ImBenchError(
            f"{path} is damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from None


def check(document: Document, plan: Plan, name: str) -> None:
    """See that a document's numbers may stand beside those of a plan.

    Args:
        document: Of another group.
        plan: The whole suite.
        name: What errors call the document.

    Raises:
        ImBenchError: If it is of another suite, budget or protocol, or not consistent in itself.
    """
    if (document.suite, document.budget) != (plan.suite.name, plan.budget):
        raise ImBenchError(
            f"{name} holds suite {document.suite!r} under budget {document.budget!r}, not "
            f"{plan.suite.name!r} under {plan.budget!r}: say so with --suite and --budget"
        )
    if not document.cells:
        raise ImBenchError(f"{name} holds no results: export them when some are done")
    known, protocols = {cell.name: cell for cell in plan.cells}, protocols_of(plan)
    seen: set[tuple[str, int, int]] = set()
    for cell in document.cells:
        if cell.name not in known:
            raise ImBenchError(f"{name}: {unknown_name('cell', cell.name, known)}")
        theirs, ours = (p.model_dump(mode="json") for p in (cell.protocol, protocols[cell.name]))
        different = _first_difference(theirs, ours)
        if different:
            raise ImBenchError(
                f"{name}: {cell.name} was made under another protocol: {different}; only results "
                "of one suite file can be compared"
            )
        for result in cell.results:
            at = (cell.name, result.seed, result.generation)
            if at in seen or result.seed not in cell.seeds:
                raise ImBenchError(
                    f"{name}: {cell.name}, seed {result.seed}, generation {result.generation} "
                    f"{'stands there twice' if at in seen else 'is of no seed of the cell'}: "
                    "let it be exported anew"
                )
            seen.add(at)
        if set(cell.scores) != {result.seed for result in cell.results}:
            raise ImBenchError(
                f"{name}: {cell.name} lacks its headline {cell.metric!r} for a seed: let it be "
                "exported anew"
            )
        for result in cell.results:
            if result.score not in (None, result.test.get(cell.metric)):
                raise ImBenchError(
                    f"{name}: {cell.name}, seed {result.seed}, generation {result.generation} has "
                    f"score {result.score}, but {cell.metric} {result.test.get(cell.metric)}: let "
                    "it be exported anew"
                )


def _first_difference(theirs: Mapping[str, Any], ours: Mapping[str, Any], prefix: str = "") -> str:
    for key in sorted({*theirs, *ours}):
        left, right = theirs.get(key), ours.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            found = _first_difference(left, right, f"{prefix}{key}.")
            if found:
                return found
        elif left != right:
            return f"{prefix}{key} is {left!r} there and {right!r} here"
    return ""


def imported(plan: Plan, out: Path) -> Imported:
    """Return the rows of other groups for a plan; files that fit no more are named, not shown.

    Args:
        plan: A suite, or a part of it: only its cells are shown.
        out: The results folder.
    """
    found = Imported()
    cells = {cell.name: cell for cell in plan.cells}
    for path in sorted(folder_of(plan, out).glob("*.json")):
        try:
            document = read_document(path)
            known = [cell for cell in document.cells if cell.name in cells]
            if known:
                check(document.model_copy(update={"cells": tuple(known)}), plan, path.name)
        except ImBenchError as error:
            found.notes.append(f"Imported, but not shown: {error}.")
            continue
        if known:
            _add(found, document, known, cells, plan)
    return found


def _add(
    found: Imported,
    document: Document,
    known: list[ExportedCell],
    cells: Mapping[str, Cell],
    plan: Plan,
) -> None:
    origin = document.origin
    order = list(dict.fromkeys(cell.method for cell in plan.cells))
    methods = {cell.method: cell for cell in known}
    for method in sorted(methods, key=order.index):
        base = registry_name(method)
        found.rows.append(
            Row(
                f"{method}@{origin}",
                methods[method].title,
                methods[method].all_labels,
                f"{base}@{origin}" if base != method and base in methods else "",
                origin,
            )
        )
    other_data = []
    for cell in known:
        complete = set(cell.scores) == set(cell.seeds)
        state = State.DONE if complete else State.MISSING
        found.entries[f"{cell.method}@{origin}", cell.data] = Entry(cell.scores, cell.seeds, state)
        found.metrics.setdefault(cell.data, cell.metric)
        if cell.source != source_of(plan, cells[cell.name]):
            other_data.append(cell.data)
    found.notes.append(_origin(document, known, list(dict.fromkeys(other_data))))


def _origin(document: Document, known: list[ExportedCell], other_data: list[str]) -> str:
    results = [result for cell in known for result in cell.results]
    commits = dict.fromkeys(
        f"{(one.commit or 'unknown')[:10]}{' with changes' if one.dirty else ''}" for one in results
    )
    devices = dict.fromkeys(one.device or "unknown device" for one in results)
    data = f"; not known to be the same files: {', '.join(other_data)}" if other_data else ""
    return (
        f"Imported from {document.origin} under the same protocol, not ranked: im-bench "
        f"{document.im_bench}, commit {', '.join(commits)}, {', '.join(devices)}{data}."
    )
