"""What W&B is told of a plan: a card for each stage's run, and a row for each cell and seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from im_bench.planning.plan import Plan
from im_bench.suites.graph import Stage

#: Kinds of stages that become runs.
KINDS = ("train", "pseudo-label")


@dataclass(frozen=True)
class StageCard:
    """What a run says of its stage, beside what stands in the stage's folder.

    Attributes:
        folder: Relative to the folder of all stages.
        kind: ``train`` or ``pseudo-label``; the run's job type.
        slug: The run's name.
        id: The run's id, see :func:`run_id`.
        group: ``data/split/method/seed``.
        tags: Suite, budget, data set, seed, and the methods that use the stage.
        config: Flat keys to group and filter by: suite, budget, data, split, seed, method.
    """

    folder: str
    kind: str
    slug: str
    id: str
    group: str
    tags: tuple[str, ...]
    config: dict[str, Any]


def run_id(key: str) -> str:
    """Return the id of a stage's run, by the stage's key."""
    return key[:16]


class Cards:
    """Makes the cards of a plan's stages.

    Args:
        plan: The plan; it is gone through once.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        users: dict[str, set[str]] = {stage.key: set() for stage in plan.graph}
        for cell in plan.cells:
            for key in cell.finals.values():
                users[key].add(cell.method)
        # The graph's order is topological: from its end, all users of a stage are known.
        for stage in reversed(list(plan.graph)):
            for key in stage.requires:
                if plan.graph[key].kind in KINDS:
                    users[key] |= users[stage.key]
        # The stages of others are left out: a search makes cards of each of its trials.
        self._users = {key: methods for key, methods in users.items() if methods}
        methods = dict.fromkeys(cell.method for cell in plan.cells)
        self._rank = {method: rank for rank, method in enumerate(methods)}

    def card(self, stage: Stage) -> StageCard | None:
        """Return a stage's card, or None if it is none of a kind that becomes a run."""
        users = self._users.get(stage.key)
        if stage.kind not in KINDS or not users:
            return None
        suite, budget = self._plan.suite.name, self._plan.budget
        at = stage.coordinates
        seed = f"s{at.seed}"
        tags = [
            suite,
            f"budget-{budget}",
            at.data,
            seed,
            *sorted(users, key=self._rank.__getitem__),
        ]
        return StageCard(
            folder=stage.folder,
            kind=stage.kind,
            slug=stage.slug,
            id=run_id(stage.key),
            group=f"{at.data}/{at.split}/{at.method}/{seed}",
            tags=tuple(dict.fromkeys(tags)),
            config={
                "suite": suite,
                "budget": budget,
                "data": at.data,
                "split": at.split,
                "seed": at.seed,
                "method": at.method,
            },
        )


def cell_rows(plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield the fields of a ``CellRow`` for each cell and seed, in the plan's order."""
    for cell in plan.cells:
        for seed, key in cell.finals.items():
            final = plan.graph[key]
            used = [plan.graph[k] for k in final.requires]
            yield {
                "method": cell.method,
                "data": cell.data,
                "split": cell.split,
                "seed": seed,
                "final": run_id(key),
                "folder": final.folder,
                "runs": {run_id(one.key): one.folder for one in used if one.kind in KINDS},
                "state": "no data" if cell.problem else "planned",
                "reason": cell.problem,
            }
