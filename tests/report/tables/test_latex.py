from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from im_bench.planning.plan import Plan
from im_bench.report.tables.build import generations_table, results_table
from im_bench.report.tables.entries import ResultsTable
from im_bench.report.tables.latex import escaped, render_latex
from im_bench.runner.store import Store

from ..conftest import Score
from .documents import compiled, words

NASTY = r"""50 % of $x_1$ & {y} #3 ~ ^ \today <a|b> "c" `d' -- ,, [e] * é ß ² ± 中 😀 ﬁ τ"""


def nasty(table: ResultsTable) -> ResultsTable:
    """Return a table in which every text is as bad as can be, and some begin like options."""
    return replace(
        table,
        name=NASTY,
        columns=tuple(
            replace(c, group="g & h", label=f"[{i}] {NASTY}") for i, c in enumerate(table.columns)
        ),
        rows=tuple(replace(row, title=f"[2pt] * {NASTY}") for row in table.rows),
        notes=(NASTY, "[x]", "*"),
    )


def test_a_table_compiles_as_it_is(filled: Plan, store: Store, tmp_path: Path) -> None:
    text = render_latex(results_table(filled, store), document=True)
    seen = words(compiled(text, tmp_path))
    for said in ("62.0 ± 1.0", "67.1 (−5.1)", "1 of 3, no data", "planned", "with all labels",
                 "IoU % ↑", "150 iterations for every training", "commit 0123456789"):  # fmt: skip
        assert said in seen, said
    assert r"\textbf{62.0} $\pm$ 1.0" in text
    assert r"\underline{50.0} $\pm$ 0.0" in text


def test_a_fragment_needs_booktabs_only(filled: Plan, store: Store, tmp_path: Path) -> None:
    fragment = render_latex(results_table(filled, store))
    assert "documentclass" not in fragment
    text = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}%s\\end{document}"
    compiled(text % fragment, tmp_path)


def test_any_text_compiles(filled: Plan, store: Store, tmp_path: Path) -> None:
    text = render_latex(nasty(results_table(filled, store)), document=True)
    seen = words(compiled(text, tmp_path))
    for said in ("50 %", "& {y} #3", r"\today", "<a|b>", "[U+4E2D] [U+1F600] fi", "[2pt]"):
        assert said in seen, said


def test_generations_compile(filled: Plan, store: Store, tmp_path: Path) -> None:
    seen = words(compiled(render_latex(generations_table(filled, store), True), tmp_path))
    assert "65.0 71.1" in seen
    assert "images kept % 90.0 95.0" in seen


def test_missing_seeds_and_gains_stand_apart(plan: Plan, store: Store, score: Score) -> None:
    score("isic/0.1/im", 2, 0.65, 0.711)
    text = render_latex(results_table(plan, store))
    lines = [line for line in text.splitlines() if "71.1" in line or "1 of 3" in line]
    assert len(lines) == 2
    assert lines[1].startswith(" & ")


@given(st.text(max_size=40))
def test_escaped_text_is_ascii_or_known_letters_and_has_no_commands_of_its_own(text: str) -> None:
    safe = escaped(text)
    assert "\n" not in safe
    assert all(c.isascii() or c in escaped(c) for c in safe)
    assert safe.count("{") - safe.count("}") == safe.count(r"\{") - safe.count(r"\}")


@pytest.mark.parametrize("sign", "%$#&_{}")
def test_special_signs_are_escaped(sign: str) -> None:
    assert escaped(sign) == f"\\{sign}"
