"""``im-bench export`` and ``im-bench import``: results for own analysis and for other groups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from im_bench.cli.options import (
    DATA_ROOT,
    OUT,
    BudgetOption,
    DataOption,
    DataRootOption,
    MethodsOption,
    OutOption,
    SeedsOption,
    SuiteOption,
    load_plan,
)
from im_bench.errors import ImBenchError, unknown_name

if TYPE_CHECKING:
    from im_bench.report.exchange.document import Document

FORMATS = ("json", "csv", "parquet")

OriginOption = Annotated[
    str, typer.Option("--origin", metavar="NAME", help="Whose results these are, such as lab-b.")
]


def export(
    suite: SuiteOption,
    out: OutOption = OUT,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    methods: MethodsOption = None,
    data: DataOption = None,
    seeds: SeedsOption = None,
    form: Annotated[str, typer.Option("--format", help="json, csv or parquet.")] = "json",
    origin: OriginOption = "",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write to a file instead.")
    ] = None,
) -> None:
    """Write every result with all that determined it: config, key, versions, commit, device.

    A result is a cell, seed and generation. json is what `im-bench import` reads; csv and parquet
    have a row per result and dotted columns, for pandas.

    Example: im-bench export --suite quickstart --format parquet --to results.parquet
    """
    from im_bench.report.exchange.exporting import export as export_results
    from im_bench.runner.store import Store

    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    if form == "parquet" and to is None:
        raise ImBenchError("Parquet is no text: say with --to which file to write")
    check_origin(origin)
    plan = load_plan(suite, out, data_root, budget, methods, data, seeds)
    document = export_results(plan, Store(out), origin)
    if to is None:
        typer.echo(_text(document, form), nl=False)
        return
    try:
        _write(document, form, to)
    except OSError as error:
        raise ImBenchError(
            f"cannot write the results to {to} ({error.strerror}): choose another file with --to"
        ) from error
    typer.echo(f"{document.count} results of {len(document.cells)} cells in {to}")


def import_results(
    file: Annotated[Path, typer.Argument(help="What `im-bench export --format json` wrote.")],
    suite: SuiteOption,
    out: OutOption = OUT,
    data_root: DataRootOption = DATA_ROOT,
    budget: BudgetOption = None,
    origin: OriginOption = "",
) -> None:
    """Put results of another group beside ours: `im-bench table` shows them in rows of their own.

    Refused is what is of another suite, or was made under another protocol. To take results out
    again, remove the file that this command names.

    Example: im-bench import theirs.json --suite quickstart --origin lab-b
    """
    from im_bench.report.exchange.importing import import_file

    check_origin(origin)
    plan = load_plan(suite, out, data_root, budget)
    target, document = import_file(file, plan, out, origin)
    count = f"{document.count} results of {len(document.cells)} cells"
    typer.echo(f"{count} from {document.origin}, in {target}")


def check_origin(origin: str) -> None:
    """Refuse a name that cannot stand in tables and file names.

    Raises:
        ImBenchError: If it cannot.
    """
    from pydantic import TypeAdapter, ValidationError

    from im_bench.report.exchange.document import Origin

    try:
        if origin:
            TypeAdapter(Origin).validate_python(origin)
    except ValidationError:
        raise ImBenchError(
            f"--origin {origin!r}: take letters, digits, '.', '_' and '-', such as lab-b"
        ) from None


def _text(document: Document, form: str) -> str:
    from im_bench.report.exchange.exporting import flat
    from im_bench.report.tables.rendering import render_csv

    if form == "csv":
        return render_csv(flat(document))
    return document.model_dump_json(indent=2) + "\n"


def _write(document: Document, form: str, to: Path) -> None:
    from im_bench.files import write_text
    from im_bench.report.exchange.exporting import flat, write_parquet

    if form == "parquet":
        write_parquet(flat(document), to)
    else:
        write_text(to, _text(document, form))
