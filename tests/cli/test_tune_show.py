"""``im-bench tune show`` and ``tune list``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from report.tuning.studies import begin, labelled, opened, trained

from im_bench.cli.app import main

SUITE = """
name: tiny
seeds: [1]
budget: equal
budgets: {equal: {iterations: 4}}
training: {batch: 2, validations: 2}
data:
  isic:
    synth: {like: isic2018, train: 8, val: 3, test: 3}
    size: [32, 32]
    labelled: 0.5
    model: {width: 0.25, norm_momentum: 0.1}
methods:
  fixmatch: {}
"""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A results folder with two studies."""
    storage = opened(tmp_path / "runs")
    trained(storage)
    labelled(storage)
    begin(storage, "new")
    return tmp_path / "runs"


def tune(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    """Run ``im-bench tune`` in this process, and return its status and what it said."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sys, "argv", ["im-bench", "tune", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


def test_shows_and_lists_studies(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said, _ = tune(monkeypatch, capsys, "show", "trained", "--out", out)
    assert status == 0
    assert "best: trial 3" in said
    assert "pruned at step 2 of 8, iou 0.1000" in said
    status, said, _ = tune(monkeypatch, capsys, "show", "labels", "--out", out)
    assert "Pareto front" in said
    assert "--all shows all" in said
    _, every, _ = tune(monkeypatch, capsys, "show", "labels", "--out", out, "--all")
    assert len(every.splitlines()) > len(said.splitlines())
    status, said, _ = tune(monkeypatch, capsys, "show", "new", "--out", out)
    assert (status, said.splitlines()[-1]) == (0, "No trial has begun yet.")
    status, said, _ = tune(monkeypatch, capsys, "list", "--out", out)
    assert status == 0
    assert [name in said for name in ("trained", "labels", "new")] == [True] * 3


def test_the_page(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = out.parent / "page"
    status, said, _ = tune(monkeypatch, capsys, "show", "trained", "--out", out, "--to", folder)
    assert (status, said) == (0, f"{folder / 'index.html'} (0.0 MB)\n")
    assert "<title>trained</title>" in (folder / "index.html").read_text()
    journal = out / "tuning" / "studies.journal"
    status, _, error = tune(
        monkeypatch, capsys, "show", "trained", "--storage", journal, "--to", journal
    )
    assert status == 2
    assert "is a file: name a folder" in error


def test_what_is_not_there(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, error = tune(monkeypatch, capsys, "show", "trainde", "--out", out)
    assert status == 2
    assert "unknown study 'trainde': did you mean 'trained'?" in error
    nowhere = out.parent / "nowhere"
    for words in (["show", "trained"], ["list"]):
        status, _, error = tune(monkeypatch, capsys, *words, "--out", nowhere)
        assert status == 2
        assert (
            f"there is no journal of studies at {nowhere / 'tuning' / 'studies.journal'}" in error
        )
    assert not nowhere.exists()
    empty = out.parent / "empty.journal"
    empty.touch()
    for words in (["show", "trained"], ["list"]):
        status, _, error = tune(monkeypatch, capsys, *words, "--storage", empty)
        assert status == 2
        assert error.startswith(f"error: {empty} holds no study")


def test_reading_leaves_no_traces(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    before, names = files(), sorted(out.rglob("*"))
    tune(monkeypatch, capsys, "show", "trained", "--out", out)
    tune(monkeypatch, capsys, "list", "--out", out)
    assert (files(), sorted(out.rglob("*"))) == (before, names)


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["tune", "--help"], ("optuna", "torch", "matplotlib")),
        (["tune", "show", "trained"], ("torch", "matplotlib", "mmengine", "pandas")),
        (["tune", "list"], ("torch", "matplotlib", "mmengine", "pandas")),
        (["tune", "show", "trained", "--to", "page"], ("torch", "mmengine", "pandas")),
    ],
)
def test_heavy_things_are_imported_only_where_they_are_needed(
    out: Path, arguments: list[str], heavy: tuple[str, ...]
) -> None:
    script = (
        "import sys; from im_bench.cli.app import main\n"
        f"sys.argv[1:] = {arguments!r}\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        f"heavy = set({heavy!r}) & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=out.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_study_of_real_trials(tmp_path: Path) -> None:
    """What the search says to look at shows what it has found."""
    (tmp_path / "tiny.yaml").write_text(SUITE)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "im_bench.cli.app", "tune", *arguments],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "160"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    told = run(
        *("--suite", "tiny.yaml", "--method", "fixmatch", "--trials", "2", "--parallel", "1"),
        *("--no-tracking", "--device", "cpu", "--slots", "1"),
    )
    command = told.splitlines()[-1].split()
    assert command[:3] == ["im-bench", "tune", "show"]
    shown = run(*command[2:])
    assert "2: 2 complete" in shown
    assert "fixmatch of suite tiny, budget equal" in shown
    values = [line.rpartition(" ")[2] for line in told.splitlines() if ": iou " in line]
    assert len(values) == 2
    for value in values:
        assert value in shown
    assert run(*command[2:], "--to", "page").startswith("page/index.html")


@pytest.mark.parametrize("command", ["show", "list", "freeze"])
def test_options_before_a_subcommand_are_refused(
    command: str, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [command] if command == "list" else [command, "trained"]
    status, _, error = tune(monkeypatch, capsys, "--out", out, *arguments)
    assert status == 2
    assert error == f"error: --out stands before {command}: put it behind, tune {command}\n"
