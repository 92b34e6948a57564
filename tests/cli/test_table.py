from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from im_bench.cli.table import table
from im_bench.errors import ImBenchError

SUITE = """
name: small
seeds: [1]
data:
  cells: {synth: {like: hela}, size: [64, 64]}
methods:
  ldt: {members: 1}
  im: {members: 2, students: 2, generations: 2}
"""

app = typer.Typer()
app.command()(table)


@pytest.fixture
def suite(tmp_path: Path) -> list[str]:
    (tmp_path / "small.yaml").write_text(SUITE)
    return ["--suite", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "runs")]


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_nothing_was_run_yet(suite: list[str], tmp_path: Path) -> None:
    shown = run(*suite)
    assert "planned" in shown
    assert "small-paper" in shown
    assert not (tmp_path / "runs").exists()


def test_formats(suite: list[str]) -> None:
    assert "| Labelled only (LDT) | *planned* |" in run(*suite, "--format", "markdown")
    rows = list(csv.DictReader(run(*suite, "--format", "csv").splitlines()))
    assert [(row["method"], row["state"]) for row in rows] == [
        ("ldt", "planned"),
        ("im", "planned"),
    ]
    assert run(*suite, "--format", "csv", "--generations") == ""
    assert "Inconsistency Masks (IM)" in run(*suite, "--generations", "--format", "markdown")


def test_filters_and_budget(suite: list[str]) -> None:
    shown = run(*suite, "--methods", "ldt", "--budget", "equal", "--format", "markdown")
    assert "IM" not in shown.replace("im-bench", "")
    assert "small-equal" in shown


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv"])
def test_to_a_file(suite: list[str], tmp_path: Path, form: str) -> None:
    target = tmp_path / "new" / "table.txt"
    assert run(*suite, "--format", form, "--to", str(target)) == ""
    text = target.read_text()
    assert "planned" in text
    assert "\x1b" not in text


def test_wrong_input_is_one_sentence(suite: list[str], tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match="did you mean 'markdown'"):
        run(*suite, "--format", "markdwon")
    (tmp_path / "file").write_text("")
    with pytest.raises(ImBenchError, match="cannot write the table"):
        run(*suite, "--format", "csv", "--to", str(tmp_path / "file" / "table.csv"))


def test_it_needs_no_heavy_imports(suite: list[str]) -> None:
    code = (
        "import sys, typer; from im_bench.cli.table import table\n"
        "app = typer.Typer(); app.command()(table); app(sys.argv[1:], standalone_mode=False)\n"
        "heavy = {'torch', 'mmengine', 'cv2', 'wandb', 'pandas'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *suite], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
