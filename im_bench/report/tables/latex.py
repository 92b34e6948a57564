r"""Tables for papers: LaTeX with the package ``booktabs``, compiled by any engine.

A fragment is one ``table`` with its notes below. It needs ``\usepackage{booktabs}``; a document
brings what it needs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from im_bench.report.tables import texts
from im_bench.report.tables.entries import Column, Entry, GenerationsTable, ResultsTable, Row

_SPECIAL = {
    **{sign: f"\\{sign}" for sign in "#$%&_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "'": "'{}",  # two would be another sign
    "[": "{[}",  # what follows the end of a line would be its option
    "]": "{]}",
    "*": "{*}",
    "`": r"\textasciigrave{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "≈": r"$\approx$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "²": r"\textsuperscript{2}",
    "³": r"\textsuperscript{3}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\ldots{}",
    "τ": r"$\tau$",
    "α": r"$\alpha$",
    "λ": r"$\lambda$",
    "μ": r"$\mu$",
    "σ": r"$\sigma$",
}
#: Letters with accents that every LaTeX since 2018 knows without a package.
_LETTERS = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿŠšŽžŁłŒœ")

_DOCUMENT = r"""\documentclass{article}
\usepackage[a4paper,landscape,margin=15mm]{geometry}
\usepackage{booktabs}
\pagestyle{empty}
\begin{document}
%s\end{document}
"""


def render_latex(table: ResultsTable | GenerationsTable, document: bool = False) -> str:
    """Return a table for a paper.

    Args:
        table: The table.
        document: Whether to return a whole document, not one table of it.
    """
    if isinstance(table, GenerationsTable):
        title, columns = f"{table.name}, by generation", table.generations
        lines = list(_generations(table))
    else:
        title, columns = table.name, len(table.columns) + table.has_mean_ranks
        lines = list(_results(table))
    label = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    text = "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering\small",
            rf"\caption{{{escaped(title)}}}\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{@{{}}l{'r' * columns}@{{}}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\medskip",
            r"\begin{minipage}{\linewidth}\footnotesize\raggedright",
            *(rf"{escaped(note)}\par" for note in table.notes),
            r"\end{minipage}",
            r"\end{table}",
            "",
        ]
    )
    return _DOCUMENT % text if document else text


def escaped(text: str) -> str:
    """Return text in which LaTeX sees letters only; what its fonts lack becomes ``[U+4E2D]``."""
    safe = "".join(map(_escaped, " ".join(text.split())))
    return re.sub(r"([-,])(?=\1)", r"\1{}", safe)  # else a font makes another sign of two


def _escaped(sign: str) -> str:
    if sign in _SPECIAL:
        return _SPECIAL[sign]
    if sign in _LETTERS or (sign.isascii() and sign.isprintable()):
        return sign
    plain = unicodedata.normalize("NFKD", sign)
    if plain != sign and plain.isascii() and plain.isprintable():
        return "".join(map(_escaped, plain))
    return f"[U+{ord(sign):04X}]"


def _results(table: ResultsTable) -> Iterator[str]:
    groups = table.groups()
    if any(name for name, _ in groups):
        heads = [
            rf"\multicolumn{{{len(columns)}}}{{c}}{{{escaped(name)}}}" if name else ""
            for name, columns in groups
        ]
        yield _line(["", *heads, *_rank_cell(table, "")])
        yield from _rules(table)
    names = [escaped(column.label or column.data) for column in table.columns]
    yield _line(["Method", *names, *_rank_cell(table, texts.MEAN_RANK.capitalize())])
    heads = [escaped(texts.heading(column)) for column in table.columns]
    yield _line(["", *heads, *_rank_cell(table, escaped("↓"))])
    for section, rows in table.sections():
        yield r"\midrule"
        if section:
            span = 1 + len(table.columns) + table.has_mean_ranks
            yield rf"\multicolumn{{{span}}}{{@{{}}l}}{{\emph{{{escaped(section)}}}}} \\"
        for row in rows:
            yield from _row(row, table)


def _rules(table: ResultsTable) -> Iterator[str]:
    """Yield a rule under the heading of each group."""
    at = 2
    for name, columns in table.groups():
        if name:
            yield rf"\cmidrule(lr){{{at}-{at + len(columns) - 1}}}"
        at += len(columns)


def _row(row: Row, table: ResultsTable) -> Iterator[str]:
    """Yield a row's lines: ours, what is missing of it, what is reported."""
    entries = [(table.entries.get((row.method, c.data)), c) for c in table.columns]

    def cells(write: Callable[[Entry, Column], str]) -> list[str]:
        return [write(entry, column) if entry else "" for entry, column in entries]

    rank = "" if row.section else escaped(texts.mean_rank(row.mean_rank))
    own = cells(lambda entry, column: _own(entry, column.unit, table.seeds))
    yield _line([escaped(row.title), *own, *_rank_cell(table, rank)])
    missing = cells(lambda entry, _: _faint(texts.hole(entry)) if entry.n else "")
    reported = cells(lambda entry, column: _faint(texts.reported(entry, column.unit)))
    if any(missing):
        yield _line(["", *missing, *_rank_cell(table, "")])
    if any(reported):
        yield _line([rf"\quad {_faint('reported')}", *reported, *_rank_cell(table, "")])


def _own(entry: Entry, unit: str, usual: int) -> str:
    if entry.mean is None:
        return _faint(texts.hole(entry))
    mean = escaped(texts.number(entry.mean, unit))
    mark = {1: r"\textbf{%s}", 2: r"\underline{%s}"}.get(entry.rank or 0, "%s")
    gain = texts.gain(entry, unit)
    spread = texts.spread(entry, unit, usual)
    return (
        mark % mean
        + (f" {escaped(spread)}" if spread else "")
        + (rf" {_faint(gain)}" if gain else "")
    )


def _faint(text: str) -> str:
    return rf"{{\footnotesize {escaped(text)}}}" if text else ""


def _rank_cell(table: ResultsTable, text: str) -> list[str]:
    return [text] if table.has_mean_ranks else []


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _generations(table: GenerationsTable) -> Iterator[str]:
    yield _line(["Generation", *map(str, range(1, table.generations + 1))])
    for column, rows in groupby(table.rows, lambda row: row.column):
        yield r"\midrule"
        head = escaped(f"{column.name} {texts.heading(column)}")
        yield rf"\multicolumn{{{1 + table.generations}}}{{@{{}}l}}{{\textbf{{{head}}}}} \\"
        for row in rows:
            title, numbers = texts.generation_texts(row)
            cells = [escaped(title), *map(escaped, numbers)]
            if row.quantity != "test":
                cells = [_faint(title), *map(_faint, numbers)]
            yield _line(cells)
