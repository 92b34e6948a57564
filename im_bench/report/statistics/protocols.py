"""Whether two sides were made alike: what differs is said, and another protocol is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from im_bench.errors import ImBenchError
from im_bench.planning.plan import Cell, Plan
from im_bench.report.statistics.comparison import listing
from im_bench.runner.folder import Spec, StageFolder
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage, generations_of

#: Fields of a training by which methods are what they are.
OWN_FIELDS = frozenset({"seed", "method", "masking", "part", "copies", "augmentation"})


def training_notes(plan: Plan, methods: tuple[str, str]) -> tuple[str, ...]:
    """Say in what the trainings of two methods differ, besides the methods themselves."""
    notes = []
    for data in dict.fromkeys(cell.data for cell in plan.cells):
        cells = [next(c for c in plan.cells if (c.method, c.data) == (m, data)) for m in methods]
        notes += [_trainings(plan, cells), _settings(plan, cells), _labels(plan, cells)]
    return tuple(dict.fromkeys(note for note in notes if note))


def _trainings(plan: Plan, cells: list[Cell]) -> str:
    counts = []
    for cell in cells:
        final = plan.graph[next(iter(cell.finals.values()))]
        last = generations_of(final.inputs)[-1]
        trainings = sum(stage.kind == "train" for stage in plan.closure([final.key]))
        counts.append(
            f"{cell.method} {trainings}, of which the last {len(last)} compete by validation"
            if len(last) > 1
            else f"{cell.method} {trainings}"
        )
    return f"Trainings per seed: {'; '.join(counts)}."


def _last_training(plan: Plan, cell: Cell) -> Mapping[str, Any]:
    final = plan.graph[next(iter(cell.finals.values()))]
    keys = generations_of(final.inputs)[-1]
    return plan.graph[keys[0]].config


def _settings(plan: Plan, cells: list[Cell]) -> str:
    first, second = (_last_training(plan, cell) for cell in cells)
    shared = (first.keys() & second.keys()) - OWN_FIELDS
    ours, theirs = (dict(_flat({f: one[f] for f in sorted(shared)})) for one in (first, second))
    differing = [
        f"{field} {ours.get(field, 'none')} and {theirs.get(field, 'none')}"
        for field in sorted(ours.keys() | theirs.keys())
        if ours.get(field) != theirs.get(field)
    ]
    if not differing:
        return ""
    names = " and ".join(cell.method for cell in cells)
    return f"{names} are trained differently: {'; '.join(differing)}."


def _labels(plan: Plan, cells: list[Cell]) -> str:
    names = [
        cell.method
        for cell in cells
        if any(stage.config.get("part") == "all" for stage in plan.stages_of(cell))
    ]
    return f"{listing(names)}: trained with labels that others must do without." if names else ""


def refuse_other_protocols(plan: Plan, store: Store) -> None:
    """Make sure that what another results folder lacks of a plan, it does not have otherwise.

    Raises:
        ImBenchError: If all that it has of a cell was made in another way.
    """
    for cell in plan.cells:
        finals = [plan.graph[key] for key in cell.finals.values()]
        if any(store.result(stage) is not None for stage in finals):
            continue
        for stage in finals:
            if (found := _namesake(store, stage)) is not None:
                fields = list(islice(_differences(plan, stage, store, found), 3))
                what = "; ".join(fields) or "the version of a recipe"
                raise ImBenchError(
                    f"{store.out} has {stage.slug} under another protocol, which cannot be "
                    f"compared ({what}): choose the budget it was made with by --budget, or give "
                    "variants names of their own in one suite"
                )


def _namesake(store: Store, stage: Stage) -> Spec | None:
    """Return the newest finished stage of the same name with another key."""
    here = store.stages / stage.folder
    others = [
        path
        for path in here.parent.glob(f"{here.name.rpartition('-')[0]}-????????")
        if path != here and (path / "result.json").is_file()
    ]
    return _spec(max(others, key=lambda path: (path / "result.json").stat().st_mtime, default=None))


def _spec(path: Path | None) -> Spec | None:
    try:
        return StageFolder(path).spec() if path else None
    except ImBenchError:
        return None


def _differences(plan: Plan, stage: Stage, store: Store, found: Spec) -> Iterator[str]:
    """Yield fields in which a stage differs from a found one, those it requires first."""
    for role, keys in stage.inputs.items():
        for key, name in zip(keys, found.inputs.get(role, ()), strict=False):
            if (other := _spec(store.stages / name)) is not None and other.key != key:
                yield from _differences(plan, plan.graph[key], store, other)
    ours, theirs = dict(_flat(stage.config)), dict(_flat(found.config))
    for field in sorted(ours.keys() | theirs.keys()):
        if ours.get(field) != theirs.get(field):
            yield (
                f"{field} of {stage.slug}: {theirs.get(field, 'none')} there, "
                f"{ours.get(field, 'none')} in the suite"
            )
    for role in sorted(stage.inputs.keys() | found.inputs.keys()):
        ours_n, theirs_n = len(stage.inputs.get(role, ())), len(found.inputs.get(role, ()))
        if ours_n != theirs_n:
            yield f"{role} of {stage.slug}: {theirs_n} there, {ours_n} in the suite"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the fields of a config as text, those of its parts by names with dots."""
    if isinstance(value, Mapping):
        for field, part in value.items():
            yield from _flat(part, f"{name}.{field}" if name else field)
    elif isinstance(value, list | tuple):
        # What comes back from JSON has lists for tuples.
        yield name, listing(value) or "none"
    else:
        yield name, "none" if value is None else str(value)
