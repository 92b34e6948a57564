"""``im-bench data``: prepare, draw and check data sets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from im_bench.errors import ImBenchError

if TYPE_CHECKING:
    from im_bench.data.check import Report

app = typer.Typer(no_args_is_help=True, help="Prepare, draw and check data sets.")

Root = Annotated[Path, typer.Option(help="The folder of data sets.")]
SizeText = Annotated[str | None, typer.Option("--size", metavar="WxH", help="Size of the images.")]


@app.command()
def prepare(
    name: Annotated[
        str,
        typer.Argument(help="Name of a data set that `im-bench data list` shows."),
    ],
    root: Root,
    source: Annotated[
        list[Path] | None, typer.Option(help="A folder of raw data or of official archives.")
    ] = None,
    archive: Annotated[
        list[Path] | None, typer.Option(help="An official archive; may be repeated.")
    ] = None,
    size: SizeText = None,
    sha256: Annotated[
        list[str] | None, typer.Option(help="What an archive must have, one per --archive.")
    ] = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Accept other than the official counts.")
    ] = False,
) -> None:
    """Turn official raw data into what training reads; run again to continue after a stop.

    ISIC 2018 and the mitochondria are downloaded if neither --source nor --archive is given.

    Example: im-bench data prepare suim --root data --archive train_val.zip --archive TEST.zip
    """
    from rich.console import Console
    from rich.progress import Progress

    from im_bench.data.prepare import prepare as prepare_data

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        folder = prepare_data(
            name,
            [*(source or []), *(archive or [])],
            root=root,
            size=_parse_size(size) if size else None,
            allow_partial=allow_partial,
            sha256=sha256 or (),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _tell_prepared(folder)


@app.command()
def synth(
    name: Annotated[str, typer.Argument(help="isic2018, hela, suim or cityscapes.")],
    root: Root,
    train: Annotated[int, typer.Option(min=1, help="Training images.")] = 120,
    val: Annotated[int, typer.Option(min=1, help="Validation images.")] = 40,
    test: Annotated[int, typer.Option(min=1, help="Test images.")] = 60,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of the images.")] = "64x64",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawing.")] = 0,
    raw_only: Annotated[
        bool, typer.Option("--raw-only", help="Draw the raw layout, without preparing it.")
    ] = False,
) -> None:
    """Draw a synthetic twin of a data set in its official layout, and prepare it.

    Example: im-bench data synth suim --root data --train 40 --size 96x96
    """
    from im_bench.data import synth as synthetic

    images = {"train": train, "val": val, "test": test}
    if raw_only:
        folder = root / "raw" / f"{name}-synth"
        synthetic.synthesise(name, folder, images, seed, _parse_size(size))
        typer.echo(f"{folder}: raw layout of {name}")
    else:
        _tell_prepared(synthetic.make(name, root, images, seed, _parse_size(size)))


@app.command()
def check(
    where: Annotated[str, typer.Argument(help="A folder, a dataset.yaml, or a name below --root.")],
    root: Annotated[Path | None, typer.Option(help="The folder of data sets.")] = None,
) -> None:
    """Tell what is wrong with a data set, or hardly meant; exit with 1 if anything is wrong.

    Example: im-bench data check suim --root data
    """
    from im_bench.data.check import check_folder

    path = root / where if root else Path(where)
    if not path.exists():
        raise ImBenchError(
            f"there is no data set at {path}: prepare it first, or give the --root it lies in"
        )
    report = check_folder(path)
    _tell_report(report)
    if not report.ok:
        raise typer.Exit(1)


@app.command("list")
def list_data_sets() -> None:
    """List the official data sets, and where to get them.

    Example: im-bench data list
    """
    from im_bench.data.prepare.registry import DATA_SETS, find_recipe
    from im_bench.terminal import Console, Table

    table = Table("name", "what", "images", "where to get it")
    for recipe in map(find_recipe, DATA_SETS):
        counts = [str(split.count or "?") for split in recipe.raw.values()]
        source = "downloaded by itself" if recipe.downloadable else recipe.home
        table.add_row(recipe.name, recipe.title, " + ".join(counts), source)
    Console().print(table)


def _parse_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or "0" in match.groups():
        raise ImBenchError(f"--size {text!r} is no size: write WIDTHxHEIGHT, such as 256x256")
    return int(match[1]), int(match[2])


def _tell_prepared(folder: Path) -> None:
    from im_bench.files import read_json

    manifest = read_json(folder / "manifest.json")
    counts = manifest["counts"]
    typer.echo(
        f"{folder}: {counts['train']} training images ({counts['labelled']} labelled), "
        f"{counts['val']} for validation, {counts['test']} for the test"
    )
    _tell_overlaps(manifest.get("overlaps", {}))


def _tell_overlaps(overlaps: Mapping[str, Sequence[str]]) -> None:
    """Say which images a partition has among its labelled and among its unlabelled ones."""
    from im_bench.data.splits import listed

    for name, images in overlaps.items():
        if images:
            typer.echo(
                f"warning: partition {name} has {len(images)} labelled images that are in its "
                f"unlabelled list as well: {listed(images)}",
                err=True,
            )
    if overlaps and not any(overlaps.values()):
        typer.echo(f"none of {len(overlaps)} partitions has an image in both of its lists")


def _tell_report(report: Report) -> None:
    from rich.text import Text

    from im_bench.data.check import grouped
    from im_bench.terminal import Console, Table

    console = Console()
    if report.counts:
        counts = Table("split", "images")
        for split, count in report.counts.items():
            counts.add_row(split, str(count))
        console.print(counts)
    if report.shares:
        shares = Table("class", "share of pixels")
        for name, share in report.shares.items():
            shares.add_row(name, f"{share:.2%}")
        console.print(shares)
    for problem in grouped(sorted(report.problems, key=lambda one: one.warning)):
        sign = Text("warning", "yellow") if problem.warning else Text("problem", "red")
        console.print(Text.assemble(sign, ": ", problem.sentence))
    if report.ok:
        console.print("nothing is wrong" if not report.problems else "nothing but warnings")
