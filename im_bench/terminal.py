"""What commands print: whole at any width, and in any encoding.

Into a pipe or a file, lines are as wide as they need to be. A terminal that is too narrow wraps
between words, never within a number, a name or a URL; where a table has no room even so, its rows
become lists of ``name: value``. Nothing is cut, and nothing is read as markup.
"""

from __future__ import annotations

import codecs
import io
import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich import box, console, table
from rich.measure import Measurement
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderableType, RenderResult

#: Characters of a line where nobody has set a limit.
UNLIMITED = 1_000_000
#: What stands for characters that an output's encoding lacks; others are written as escapes.
PLAIN = {
    "±": "+-",
    "−": "-",
    "–": "-",
    "—": "-",
    "×": "x",
    "·": ".",
    "…": "...",
    "≈": "~",
    "→": "->",
    "↑": "^",
    "↓": "v",
    "²": "2",
    "━": "=",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
}

#: How tables look, unless one says otherwise.
STYLE: dict[str, Any] = {
    "box": box.SIMPLE_HEAD,
    "show_edge": False,
    "pad_edge": False,
    "collapse_padding": True,
}


class Console(console.Console):
    """A Rich console that cuts nothing.

    Args:
        stderr: Write to the standard error, not to the standard output.
    """

    def __init__(self, stderr: bool = False) -> None:
        narrow = (sys.stderr if stderr else sys.stdout).isatty()
        super().__init__(
            stderr=stderr,
            width=None if narrow else UNLIMITED,
            soft_wrap=True,
            markup=False,
            highlight=False,
            emoji=False,
        )


class Prose:
    """A paragraph that is wrapped between words only.

    Args:
        text: The paragraph; its own line breaks stay.
        style: Rich style of all of it.
        indent: Spaces before each line.
    """

    def __init__(self, text: str, style: str = "", indent: int = 0) -> None:
        self._text, self._style, self._indent = text, style, " " * indent

    def __rich_console__(self, console: console.Console, options: ConsoleOptions) -> RenderResult:
        for line in self._text.split("\n"):
            for part in wrapped(line, options.max_width, self._indent, self._indent):
                yield whole(part, self._style)


class Table(table.Table):
    """A Rich table that is never narrower than its longest words.

    Words of titles, headings and cells are taken as they are, without markup. See
    :class:`rich.table.Table` for the arguments.
    """

    def __init__(self, *headers: str, **settings: Any) -> None:
        super().__init__(**{**STYLE, **settings})
        for header in headers:
            self.add_column(header)

    def add_column(self, header: RenderableType = "", *more: Any, **settings: Any) -> None:
        """Add a column; see :meth:`rich.table.Table.add_column`."""
        super().add_column(_text(header), *more, **settings)

    def add_row(self, *cells: RenderableType | None, **settings: Any) -> None:
        """Add a row; see :meth:`rich.table.Table.add_row`."""
        super().add_row(*(_text(cell or "") for cell in cells), **settings)

    def least(self, console: console.Console) -> int:
        """Return the width below which words or numbers would have to be split."""
        wide = console.options.update(max_width=UNLIMITED)
        least, most = self._widths(console, wide)
        return sum(least) + self._frame(console, wide, most)

    def __rich_console__(self, console: console.Console, options: ConsoleOptions) -> RenderResult:
        title, caption = self.title, self.caption
        wide = options.update(max_width=UNLIMITED)
        least, most = self._widths(console, wide)
        room = options.max_width - self._frame(console, wide, most)
        if title:
            yield Prose(str(title), "bold")
        if sum(least) > room:
            yield from self._records(options)
        else:
            for column, width in zip(self.columns, shared(least, most, room), strict=True):
                column.width = width
            self.title = self.caption = None
            yield from super().__rich_console__(console, options)
            self.title, self.caption = title, caption
            for column in self.columns:
                column.width = None
        if caption:
            yield Prose(str(caption), "dim")
        if self.show_header:
            yield ""

    def _widths(
        self, console: console.Console, wide: ConsoleOptions
    ) -> tuple[list[int], list[int]]:
        """Return the width of the longest word and of the longest line of each column."""
        least, most = [], []
        for column in self.columns:
            cells = [column.header, *column.cells] if self.show_header else list(column.cells)
            found = [Measurement.get(console, wide, cell) for cell in cells] or [Measurement(0, 0)]
            most.append(max(1, column.min_width or 0, *(one.maximum for one in found)))
            words = max(1, column.min_width or 0, *(one.minimum for one in found))
            least.append(most[-1] if column.no_wrap else words)
        return least, most

    def _frame(self, console: console.Console, wide: ConsoleOptions, most: list[int]) -> int:
        """Return the width of the borders and of the padding."""
        return super().__rich_measure__(console, wide).maximum - sum(most)

    def _records(self, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Give each row as lines, one for each cell that is not empty."""
        names = [" ".join(str(column.header).split()) for column in self.columns]
        columns = [list(column.cells) for column in self.columns]
        for position, row in enumerate(zip(*columns, strict=True)):
            if position and self.show_header:
                yield ""
            texts = [" ".join(str(cell).split()) for cell in row]
            if not self.show_header:
                names, texts = [""], [" ".join(filter(None, texts))]
            for name, text in zip(names, texts, strict=True):
                line = f"{name}: {text}" if name else text
                for part in wrapped(line, options.max_width, "", "  ") if text else ():
                    yield whole(part)


def wrapped(text: str, width: int, first: str, following: str) -> list[str]:
    """Return the lines of a text, broken between words only.

    Args:
        text: One line.
        width: Characters of a line.
        first: What stands before the first line.
        following: What stands before all others.
    """
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def whole(text: str, style: str = "") -> Text:
    """Return a line that is printed as it is, however long."""
    return Text(text, style, no_wrap=True, overflow="ignore")


def shared(least: list[int], most: list[int], room: int) -> list[int]:
    """Return widths between the least and the most that together take at most some room.

    Args:
        least: Of each column.
        most: Of each column, not less.
        room: Of all, at least the sum of ``least``.
    """
    spare = room - sum(least)
    wanted = sum(most) - sum(least)
    if spare >= wanted:
        return most
    return [low + (high - low) * spare // wanted for low, high in zip(least, most, strict=True)]


def plain_text(renderable: RenderableType) -> str:
    """Return what a file gets: no colours, and lines as wide as they need to be."""
    page = console.Console(width=UNLIMITED, file=io.StringIO(), record=True, markup=False)
    page.print(renderable, soft_wrap=True, highlight=False)
    return "".join(line.rstrip() + "\n" for line in page.export_text().splitlines())


def write_in_any_encoding() -> None:
    """Let the standard streams write what their encodings lack, instead of raising an error."""
    codecs.register_error("im-bench", _substitute)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="im-bench")


def _substitute(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    escaped = (c.encode("ascii", "backslashreplace").decode() for c in missing)
    texts = [PLAIN.get(c, text) for c, text in zip(missing, escaped, strict=True)]
    return "".join(texts), error.end


def _text(cell: RenderableType) -> RenderableType:
    return Text(cell) if isinstance(cell, str) else cell
