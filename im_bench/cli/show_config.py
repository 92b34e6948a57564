"""A training of a cell as a config file for ``tools/train.py``: ``im-bench show CELL --config``."""

from __future__ import annotations

from pathlib import Path

from im_bench.errors import ImBenchError, unknown_name
from im_bench.planning.plan import Cell, Plan
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage, generations_of


def training_config(
    plan: Plan, cell: Cell, seed: int, store: Store, training: str | None, device: str
) -> str:
    """Return the MMEngine config of one training of a cell, as the text of a config file.

    Args:
        plan: Has the cell.
        cell: Whose training it is.
        seed: Of the cell.
        store: The results folder, which must hold the data that the training reads.
        training: The end of the training's name, such as ``g1-student2``; None: the first training
            of those that are scored.
        device: Where it trains: a torch device, or ``"auto"``.

    Raises:
        ImBenchError: There is no such training, or its data have not been prepared by a run.
    """
    stage = _training(plan, cell, seed, training)
    inputs: dict[str, Path] = {}
    for role, keys in stage.inputs.items():
        needed = plan.graph[keys[0]]
        if store.result(needed) is None:
            raise ImBenchError(
                f"the training {stage.slug} reads {needed.slug}, which does not exist yet: run "
                f"`im-bench run --suite {plan.path}` first"
            )
        inputs[role] = store.folder(needed).path.absolute()

    from im_bench.training.config import build_config, resolve_device
    from im_bench.training.description import parse_training

    config = build_config(
        parse_training(stage.config),
        inputs["data"] / "arrays",
        Path("work_dirs", stage.folder),
        inputs.get("pseudo"),
        resolve_device(device),
    )
    text: str = config.pretty_text
    return f"# {stage.slug} of the suite {plan.name}, as im-bench trains it.\n{text}"


def _training(plan: Plan, cell: Cell, seed: int, name: str | None) -> Stage:
    final = plan.graph[cell.finals[seed]]
    trainings = [stage for stage in plan.closure([final.key]) if stage.kind == "train"]
    if name is None:
        return plan.graph[generations_of(final.inputs)[-1][0]]
    names = {stage.coordinates.name: stage for stage in trainings}
    if name not in names:
        raise unknown_name(f"training of {cell.name}", name, names)
    return names[name]
