"""``im-bench methods``: which methods there are, and what can be set."""

from __future__ import annotations

from typing import Annotated

import typer


def methods(
    name: Annotated[
        str | None, typer.Argument(help="A method, to see its fields; all by default.")
    ] = None,
) -> None:
    """List the methods, or the fields of one with defaults and what a search may try.

    Example: im-bench methods unimatch
    """
    from im_bench.methods import known_methods
    from im_bench.planning.reference import documented_fields
    from im_bench.schedules.registry import schedule_class
    from im_bench.terminal import Console, Prose, Table

    console = Console()
    if name is None:
        table = Table("name", "title", "source")
        for each in known_methods():
            kind = schedule_class(each)
            table.add_row(each, kind.title, kind.source)
        console.print(table)
        return
    kind = schedule_class(name)
    table = Table("field", "default", "search", "meaning")
    meanings = documented_fields(kind)
    for field, info in kind.model_fields.items():
        search = kind.search.get(field)
        table.add_row(
            field,
            str(info.default),
            "" if search is None else str(search),
            meanings.get(field, "").replace("`", ""),
        )
    console.print(Prose(f"{kind.title}: {kind.source}"))
    console.print(table)
