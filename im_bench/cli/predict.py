"""``im-bench predict``: masks of the user's own images, by the networks of a cell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from im_bench.cli.options import (
    DATA_ROOT,
    OUT,
    BudgetOption,
    DataRootOption,
    DeviceOption,
    SeedsOption,
    SuiteOption,
    load_plan,
)
from im_bench.cli.show import find_cell
from im_bench.errors import ImBenchError


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files.")],
    suite: SuiteOption,
    cell: Annotated[
        str,
        typer.Option(
            "--cell",
            metavar="CELL",
            help="DATA/SPLIT/METHOD (its first seed), or with a seed: .../s1.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the pictures.")],
    runs: Annotated[Path, typer.Option("--runs", help="The results folder.")] = OUT,
    teachers: Annotated[
        int, typer.Option("--teachers", min=1, help="Networks in the ensemble, the best first.")
    ] = 2,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    seeds: SeedsOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Predict images: masks, overlays, and where the ensemble is inconsistent.

    Example: im-bench predict --suite quickstart --cell lesions/0.1/im photo.jpg --out predicted
    """
    from im_bench.runner.store import Store

    plan = load_plan(suite, runs, data_root, budget, seeds=seeds)
    found, chosen = find_cell(plan, cell)
    final = plan.graph[found.finals[chosen[0]]]
    store = Store(runs)
    result = store.result(final)
    if result is None:
        raise ImBenchError(
            f"cell {found.name} has no scores yet: run `im-bench run --suite {suite} "
            f"--methods {found.method} --data {found.data}` first"
        )
    from rich.console import Console

    from im_bench.prediction import predict_files
    from im_bench.stages.selection import best_by_validation

    outcome = result["outcome"]
    role = f"generation-{outcome['selected_generation']}"
    candidates = [store.folder(plan.graph[key]).path for key in final.inputs[role]]
    ensemble = best_by_validation(candidates, outcome["metric"], teachers)
    packed = store.folder(plan.graph[final.inputs["data"][0]]).path / "arrays"
    console = Console()
    if len(ensemble) < teachers:
        console.print(f"the cell has {len(ensemble)} network(s), fewer than --teachers {teachers}")
    for done in predict_files(images, ensemble, packed, out, device):
        disputed = f", {done.inconsistent:.1%} inconsistent" if done.inconsistency else ""
        console.print(f"{done.mask}{disputed}", highlight=False, soft_wrap=True)
