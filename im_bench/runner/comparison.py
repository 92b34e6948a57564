"""What differs between two cells: what their stages are, where they ran, and what came out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from im_bench.planning.plan import Cell, Plan
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage

#: What is compared of where a stage ran.
ORIGIN = ("commit", "dirty", "versions", "device", "threads")
_ABSENT = object()


@dataclass(frozen=True)
class Side:
    """One of the two cells.

    Attributes:
        plan: Of its suite.
        cell: The cell.
        seeds: Those of its seeds that are compared.
        store: Where its stages lie.
    """

    plan: Plan
    cell: Cell
    seeds: tuple[int, ...]
    store: Store

    def stages(self, seed: int) -> dict[str, Stage]:
        """Return the stages of a seed by names that are alike in every cell.

        A stage of another method is called by that method, too.
        """
        stages = self.plan.closure([self.cell.finals[seed]])
        return {
            at.name if at.method == self.cell.method else at.long_name: stage
            for stage in stages
            for at in [stage.coordinates]
        }

    def scores(self, seed: int) -> dict[str, Any]:
        """Return the numbers of a seed's last stage, and the generation they are of."""
        result = self.store.result(self.plan.graph[self.cell.finals[seed]])
        outcome = result["outcome"] if result else {}
        return {
            name.replace("_", " "): outcome[name]
            for name in ("test", "val", "selected_generation", "test_images")
            if name in outcome
        }


@dataclass(frozen=True)
class Difference:
    """One thing in which two cells differ.

    Attributes:
        section: ``stages``, ``config``, ``state``, ``origin`` or ``results``.
        what: Which field of it.
        where: Which stages, or which seed.
        left: What the first cell has.
        right: What the second cell has.
    """

    section: str
    what: str
    where: str
    left: str
    right: str


def compare(left: Side, right: Side) -> list[Difference]:
    """Return in what two cells differ, stage by stage and seed by seed; what is equal is left out.

    One seed each is compared whatever the seeds are; of several, equal ones.
    """
    found: list[Difference] = []
    if len(left.seeds) == len(right.seeds) == 1:
        seeds = [(left.seeds[0], right.seeds[0])]
    else:
        seeds = [(seed, seed) for seed in left.seeds if seed in right.seeds]
    if left.seeds != right.seeds:
        found.append(_row("stages", "seeds", "", list(left.seeds), list(right.seeds)))
    pairs: list[tuple[str, Stage, Stage]] = []
    for here, there in seeds:
        ours, theirs = left.stages(here), right.stages(there)
        mark = f"s{here} " if len(seeds) > 1 else ""
        matched = list(_matched(ours, theirs))
        pairs += [(mark + name, ours[name], theirs[other]) for name, other in matched]
        alone = ours.keys() - {name for name, _ in matched}
        others = theirs.keys() - {other for _, other in matched}
        if alone or others:
            names = [
                _listing([n for n in d if n in s]) for d, s in ((ours, alone), (theirs, others))
            ]
            found.append(Difference("stages", "only here", mark.strip(), *names))
    found += _grouped("config", ((name, _identity(a), _identity(b)) for name, a, b in pairs))
    found += _grouped(
        "state",
        (
            (name, {"state": left.store.status(a).value}, {"state": right.store.status(b).value})
            for name, a, b in pairs
        ),
    )
    found += _grouped(
        "origin",
        ((n, _origin(left.store, a), _origin(right.store, b)) for n, a, b in pairs),
    )
    found += _grouped(
        "results",
        ((f"s{a}" if a == b else f"s{a}, s{b}", left.scores(a), right.scores(b)) for a, b in seeds),
    )
    return found


def _matched(ours: dict[str, Stage], theirs: dict[str, Stage]) -> Iterator[tuple[str, str]]:
    """Give the names of stages that are to be compared: the same stage, or one of the same name."""
    by_key = {stage.key: name for name, stage in theirs.items()}
    same = {name: by_key[stage.key] for name, stage in ours.items() if stage.key in by_key}
    taken = set(same.values())
    for name in ours:
        if name in same:
            yield name, same[name]
        elif name in theirs and name not in taken:
            yield name, name


def _grouped(
    section: str, pairs: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any]]]
) -> Iterator[Difference]:
    """Give a line per field and pair of values, with all the stages of which it is true.

    Where every stage has values of its own, as seeds are, the first stands for all. A side that has
    nothing yet is left out: its state says that.
    """
    fields: dict[str, dict[tuple[str, str], list[str]]] = {}
    for name, left, right in pairs:
        if not left or not right:
            continue
        a, b = _flat(left), _flat(right)
        for field in dict.fromkeys((*a, *b)):
            if a.get(field, _ABSENT) != b.get(field, _ABSENT):
                values = _texts(a.get(field, _ABSENT), b.get(field, _ABSENT))
                fields.setdefault(field, {}).setdefault(values, []).append(name)
    for field, groups in fields.items():
        if len(groups) > 2:
            values, (name, *_) = next(iter(groups.items()))
            more = sum(len(names) for names in groups.values()) - 1
            yield Difference(section, field, f"{name}, and {more} more otherwise", *values)
        else:
            for values, names in groups.items():
                yield Difference(section, field, _listing(names), *values)


def _row(section: str, what: str, where: str, left: Any, right: Any) -> Difference:
    return Difference(section, what, where, *_texts(left, right))


def _identity(stage: Stage) -> dict[str, Any]:
    return {"kind": stage.kind, **stage.config}


def _origin(store: Store, stage: Stage) -> dict[str, Any]:
    """Return where the last attempt at a stage ran."""
    made: dict[str, Any] = next(reversed(store.folder(stage).provenances()), {})
    return {name: made[name] for name in ORIGIN if name in made}


def _flat(value: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested fields under names with dots."""
    flat: dict[str, Any] = {}
    for name, one in value.items():
        if isinstance(one, Mapping) and one:
            flat.update(_flat(one, f"{above}{name}."))
        else:
            # Through JSON, so that tuples of a plan equal lists.
            flat[f"{above}{name}"] = json.loads(json.dumps(one))
    return flat


def _texts(left: Any, right: Any) -> tuple[str, str]:
    """Return two different values as texts that differ."""
    texts = _text(left), _text(right)
    return texts if texts[0] != texts[1] else (repr(left), repr(right))


def _text(value: Any) -> str:
    if value is _ABSENT:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def _listing(names: list[str]) -> str:
    """Return names, or how many there are if they are many."""
    if len(names) <= 3:
        return ", ".join(names) or "-"
    return f"{names[0]} ... {names[-1]} ({len(names)} stages)"
