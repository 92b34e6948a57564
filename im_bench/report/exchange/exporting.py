"""Every result of a suite with all that determined it, for own analysis and for other groups."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from im_bench import __version__
from im_bench.errors import ImBenchError
from im_bench.files import atomic_path
from im_bench.planning.loading import load_suite
from im_bench.planning.plan import Cell, Plan
from im_bench.report.exchange.document import (
    CellProtocol,
    Document,
    ExportedCell,
    ExportedResult,
    LabelledImages,
)
from im_bench.report.labelled import labelled_images
from im_bench.report.results import CellResults, rows_of, shares_of
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage, generation_role
from im_bench.suites.recipes import RECIPES

#: Fields of a data set that change no number: where it lies, how tables treat it, what it costs.
_OF_NO_NUMBER = {"folder", "reference", "group", "resources"}


def export(plan: Plan, store: Store, origin: str = "") -> Document:
    """Return the results of a plan, as far as they are there.

    Raises:
        ImBenchError: The plan's scores are of validation images.
    """
    if plan.suite.scores == "val":
        raise ImBenchError(
            f"the scores of {plan.name} are of validation images, for a search: they are no "
            "results to export; run the suite that they are for"
        )
    results = CellResults(plan, store)
    all_labels = {row.method: row.all_labels for row in rows_of(plan)}
    protocols = protocols_of(plan)
    cells = []
    for cell in plan.cells:
        outcomes = results.outcomes(cell)
        if outcomes:
            cells.append(
                ExportedCell(
                    data=cell.data,
                    split=cell.split,
                    method=cell.method,
                    title=cell.title,
                    all_labels=all_labels[cell.method],
                    metric=next(iter(outcomes.values()))["metric"],
                    seeds=tuple(cell.finals),
                    source=source_of(plan, cell),
                    protocol=protocols[cell.name],
                    results=tuple(
                        result
                        for seed, outcome in outcomes.items()
                        for result in _results(
                            plan, store, plan.graph[cell.finals[seed]], seed, outcome
                        )
                    ),
                )
            )
    return Document(
        suite=plan.suite.name,
        budget=plan.budget,
        origin=origin,
        im_bench=__version__,
        labelled=_labelled(plan, store, dict.fromkeys(cell.data for cell in cells)),
        cells=tuple(cells),
    )


def _labelled(plan: Plan, store: Store, data: Iterable[str]) -> dict[str, LabelledImages]:
    """Return the labelled images of data sets, as far as their data are packed."""
    return {
        name: LabelledImages(
            count=len(found.names),
            training_images=found.training_images,
            split_seed=found.split_seed,
            sha256=found.sha256,
            names=found.names,
        )
        for name in data
        if (found := labelled_images(plan, store, name)) is not None
    }


def protocols_of(plan: Plan) -> dict[str, CellProtocol]:
    """Return what must be alike for a comparison, by the cells' names."""
    _, methods = load_suite(plan.path)
    budgets = plan.suite.budgets
    length = budgets.paper if plan.budget == "paper" else budgets.equal
    recipes = {kind: recipe.version for kind, recipe in RECIPES.items()}
    return {
        cell.name: CellProtocol(
            data=plan.suite.data[cell.data].model_dump(mode="json", exclude=_OF_NO_NUMBER),
            training=plan.suite.training.model_dump(mode="json"),
            budget={"kind": plan.budget, **length.model_dump(mode="json")},
            method=methods[cell.method].model_dump(mode="json"),
            recipes=recipes,
        )
        for cell in plan.cells
    }


def source_of(plan: Plan, cell: Cell) -> dict[str, Any]:
    """Return what identifies a cell's data: a fingerprint, or the drawing."""
    final = plan.graph[next(iter(cell.finals.values()))]
    return _plain(plan.graph[final.inputs["data"][0]].config["source"])


def _results(
    plan: Plan, store: Store, final: Stage, seed: int, outcome: Mapping[str, Any]
) -> Iterator[ExportedResult]:
    folder = store.folder(final)
    stored = folder.result() or {}
    made: dict[str, Any] = next(reversed(folder.provenances()), {})
    for one in outcome["generations"]:
        g = one["generation"]
        candidates = [plan.graph[key] for key in final.inputs.get(generation_role(g), ())]
        chosen = (c for c in candidates if PurePosixPath(c.folder).name == one.get("selected"))
        config = next((c.config for c in chosen), {})
        yield ExportedResult(
            seed=seed,
            generation=g,
            in_table=g == outcome["selected_generation"],
            score=one["test"].get(outcome["metric"]),
            test=one["test"],
            val=one["val"],
            shares=dict(shares_of(one)),
            trained=one.get("trained"),
            iterations=one.get("iterations"),
            key=final.key,
            config=_plain(config),
            training_seconds=_training_seconds(plan, store, candidates),
            scoring_seconds=stored.get("seconds"),
            finished=stored.get("finished"),
            commit=made.get("commit"),
            dirty=made.get("dirty"),
            versions=made.get("versions") or {},
            device=made.get("device"),
        )


def _training_seconds(plan: Plan, store: Store, candidates: Sequence[Stage]) -> float | None:
    """Return the time of some trainings and of those that they need, or None if one is unknown."""
    needed = plan.closure([stage.key for stage in candidates])
    spent = [
        (store.result(stage) or {}).get("seconds_in_all")
        for stage in needed
        if stage.kind == "train"
    ]
    known = [seconds for seconds in spent if seconds is not None]
    return round(sum(known), 3) if known and len(known) == len(spent) else None


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain


def flat(document: Document) -> list[dict[str, Any]]:
    """Return one row per result, with all rows' columns in each; nested names are dotted.

    Lists become JSON text, and so does a column in which numbers and words are mixed. Of the
    labelled images there are the count and the hash; their names are in the JSON document.
    """
    labelled = {
        data: {"labelled": images.model_dump(mode="json", exclude={"names"})}
        for data, images in document.labelled.items()
    }
    rows = [
        {
            "suite": document.suite,
            "budget": document.budget,
            "origin": document.origin,
            **_dotted(cell.model_dump(mode="json", exclude={"results", "protocol"})),
            **_dotted(result.model_dump(mode="json")),
            **_dotted(labelled.get(cell.data, {})),
            **_dotted({"protocol": cell.protocol.model_dump(mode="json")}),
        }
        for cell in document.cells
        for result in cell.results
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    mixed = {name for name in names if _kinds(row.get(name) for row in rows) > 1}
    return [
        {
            name: json.dumps(value) if name in mixed and value is not None else value
            for name in names
            for value in (row.get(name),)
        }
        for row in rows
    ]


def _dotted(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, part in value.items():
        if isinstance(part, Mapping):
            found.update(_dotted(part, f"{prefix}{name}."))
        else:
            found[prefix + name] = json.dumps(part) if isinstance(part, list) else part
    return found


def _kinds(values: Iterator[Any]) -> int:
    """Count the kinds of values: words, truth values, numbers."""
    return len(
        {
            "number" if isinstance(v, (int, float)) and not isinstance(v, bool) else type(v)
            for v in values
            if v is not None
        }
    )


def write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    """Write rows as Parquet, which ``pandas.read_parquet`` reads with its types.

    Raises:
        ImBenchError: If pyarrow is missing.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ImBenchError(
            "Parquet needs pyarrow: pip install pyarrow, or take --format csv"
        ) from None
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else {})}
    for name, values in columns.items():
        if any(isinstance(value, float) for value in values):
            columns[name] = [None if value is None else float(value) for value in values]
    with atomic_path(path) as temporary:
        parquet.write_table(pyarrow.table(columns), temporary)
