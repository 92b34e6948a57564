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
    from rich.console import Console
    from rich.table import Table

    from im_bench.methods import known_methods
    from im_bench.schedules.registry import schedule_class

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
            field, str(info.default), "" if search is None else str(search), meanings.get(field, "")
        )
    console.print(f"[bold]{kind.title}[/bold]: {kind.source}", table, sep="\n")


def documented_fields(kind: type) -> dict[str, str]:
    """Return the meaning of each field, as the docstrings of a class and its bases have it."""
    import inspect
    import re

    meanings: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if "__doc__" not in vars(base):
            continue
        _, _, attributes = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")
        entries = re.split(r"^    (\w+): ", attributes, flags=re.MULTILINE)[1:]
        for field, text in zip(entries[::2], entries[1::2], strict=True):
            paragraph, _, _ = text.partition("\n\n")
            meanings[field] = " ".join(paragraph.replace("``", "").split())
    return meanings
