"""``im-bench predict``: masks of image files, by the networks of a cell."""

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
    OutOption,
    SeedsOption,
    SuiteOption,
    load_plan,
)
from im_bench.cli.show import find_cell
from im_bench.errors import ImBenchError, unknown_name

ENSEMBLE = 2
SIZES = ("own", "suite")


def predict(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGES...", help="Image files, and folders of image files."),
    ],
    suite: SuiteOption,
    cell: Annotated[
        str,
        typer.Option(
            "--cell",
            metavar="CELL",
            help="DATA/SPLIT/METHOD (its first seed), or with a seed: .../s1.",
        ),
    ],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder of the masks.")],
    out: OutOption = OUT,
    size: Annotated[
        str,
        typer.Option(
            "--size",
            help="Of the masks: own (of each image), or suite (in which the cell is scored).",
        ),
    ] = "own",
    teachers: Annotated[
        int | None,
        typer.Option(
            "--teachers",
            min=1,
            help="Networks whose disagreement is shown. Default: 2, if the cell has them.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there already.")
    ] = False,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    seeds: SeedsOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Predict images: masks, overlays, and where an ensemble is inconsistent.

    Masks are those of the network that the results table scores. classes.json beside them says what
    their values mean. Exit status: 0 done, 1 some images could not be predicted, 2 wrong input.

    Example: im-bench predict --suite quickstart --cell lesions/0.1/im photo.jpg --to predicted
    """
    from im_bench.runner.store import Store

    if size not in SIZES:
        raise unknown_name("size", size, SIZES)
    plan = load_plan(suite, out, data_root, budget, seeds=seeds)
    found, chosen = find_cell(plan, cell)
    final = plan.graph[found.finals[chosen[0]]]
    store = Store(out)
    result = store.result(final)
    if result is None and found.problem:
        raise ImBenchError(f"cell {found.name}: {found.problem}")
    if result is None:
        raise ImBenchError(
            f"cell {found.name} has no scores yet in {out}: run `im-bench run --suite {suite} "
            f"--methods {found.method} --data {found.data} --out {out}` first"
        )
    from im_bench.data.splits import listed
    from im_bench.prediction import LEGEND, images_in, predict_files
    from im_bench.stages.selection import best_by_validation
    from im_bench.suites.graph import generation_role
    from im_bench.terminal import Console

    outcome = result["outcome"]
    role = generation_role(outcome["selected_generation"])
    candidates = [store.folder(plan.graph[key]).path for key in final.inputs[role]]
    # The first is the one that the table scores; the others only add their disagreement.
    ensemble = best_by_validation(candidates, outcome["metric"], teachers or ENSEMBLE)
    packed = store.folder(plan.graph[final.inputs["data"][0]]).path / "arrays"
    say = Console().print
    files, left_out = images_in(images)
    if any(path.is_dir() and path.resolve() == to.resolve() for path in images):
        raise ImBenchError(f"{to}: holds the images: choose another folder for the masks with --to")
    if left_out:
        say(f"left out, as no images or sub-folders: {listed([str(path) for path in left_out])}")
    if teachers is not None and len(ensemble) < teachers:
        say(f"the cell has {len(ensemble)} network(s), fewer than --teachers {teachers}")
    say(f"masks of {ensemble[0].name}, which the table scores (seed {chosen[0]})")
    failed = False
    for done in predict_files(
        files, ensemble, packed, to, device, "suite" if size == "suite" else "own", overwrite
    ):
        if isinstance(done, ImBenchError):
            failed = True
            typer.echo(f"not predicted: {done}", err=True)
            continue
        share = f", {done.inconsistent:.1%} inconsistent" if done.inconsistency else ""
        say(f"{done.mask}{share}")
    say(f"{to / LEGEND} says what the values of masks mean")
    raise typer.Exit(int(failed))
