"""Runs the command line on a small suite."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from im_bench.cli.app import main

PACKAGE = str(__package__)
ABOVE = Path(__file__).parents[PACKAGE.count(".") + 1]

SUITE = """
name: tiny
seeds: [1, 2]
budget: equal
data:
  lesions: {synth: {like: isic2018, train: 20, val: 4, test: 4}, size: [32, 32]}
  absent: {folder: absent}
methods:
  ldt: {members: 2}
  im: {members: 2, students: 2, generations: 2}
"""

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def words(*arguments: str) -> list[str]:
    """Return the command line with light stages."""
    return [sys.executable, "-m", f"{PACKAGE}.light", *arguments]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A small suite, of which one data set is not there."""
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture
def command(
    suite: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Run a command on the small suite in this process, which is quick, and return how it went."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        given = [*arguments, *on(suite, tmp_path)]
        monkeypatch.setattr(sys, "argv", ["im-bench", *given])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return subprocess.CompletedProcess(given, int(end.value.code or 0), *captured)

    return run


@pytest.fixture
def light(suite: Path, tmp_path: Path) -> Command:
    """Run a command on the small suite with light stages, in a process of its own."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words(*arguments, *on(suite, tmp_path)),
            cwd=ABOVE,
            env={**os.environ, "COLUMNS": "200", **environment},
            capture_output=True,
            text=True,
        )

    return run


def on_terminal(arguments: list[str], typed: bytes = b"", **environment: str) -> tuple[str, int]:
    """Run a command on a terminal on which something is typed; return its output and status."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        arguments,
        cwd=ABOVE,
        env={**os.environ, "COLUMNS": "200", "LINES": "60", "TERM": "xterm", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, typed)
    said = b""
    while True:
        try:
            said += os.read(ours, 4096)
        except OSError:  # The other end is closed.
            break
    os.close(ours)
    return said.decode(), process.wait()


def on(suite: Path, tmp_path: Path) -> list[str]:
    """Return the options that name the small suite and a results folder."""
    return ["--suite", str(suite), "--out", str(tmp_path / "runs")]
