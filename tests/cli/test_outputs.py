"""No command cuts a number, a name or a URL: in a pipe, and on terminals of 80 and 40 columns."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest
from report.page.simulated import Simulation, Task
from report.tuning.studies import labelled, opened, trained

from im_bench.cli.app import main
from im_bench.data.prepare.registry import DATA_SETS, find_recipe
from im_bench.methods import known_methods
from im_bench.planning.plan import make_plan
from im_bench.runner.store import Store
from im_bench.schedules.registry import schedule_class

LONG = "lesions-of-a-hospital-with-a-very-long-name"
SUITE_NAME = "a-suite-with-a-long-name"
SUITE = f"""
name: {SUITE_NAME}
seeds: [1, 2, 30000]
budget: equal
data:
  {LONG}: {{synth: {{like: isic2018, train: 20, val: 4, test: 4}}, size: [32, 32]}}
  reef: {{synth: {{like: suim}}, size: [32, 32]}}
methods:
  ldt: {{members: 2}}
  unimatch: {{}}
  unimatch+im: {{im: {{members: 2}}}}
  im: {{members: 2, students: 2, generations: 2}}
"""
TASKS = (
    Task("binary", "iou", ("lesion",)),
    Task("multiclass", "miou", ("void", "dataset", "iou", "road/side", "a.b", "sea_floor[0]")),
)
CELL = f"{LONG}/0.1/im"
COMMANDS = {
    "table": ["table"],
    "generations": ["table", "--generations"],
    "status": ["status"],
    "plan": ["plan"],
    "cost": ["plan", "--cost", "--slots", "3"],
    "stages": ["plan", "--stages"],
    "show": ["show", CELL],
    "show-classes": ["show", "reef/0.1/unimatch+im/s30000"],
    "diff": ["diff", CELL, "reef/0.1/unimatch+im"],
    "compare": ["compare", "unimatch+im", "unimatch"],
    "stats": ["stats"],
    "gc": ["gc"],
}
WITHOUT_SUITE = {
    "methods": ["methods"],
    "method": ["methods", "imas"],
    "data list": ["data", "list"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with scores of all cells but one, and two studies."""
    place = tmp_path_factory.mktemp("a-results-folder-that-has-a-long-name")
    path = place / f"{SUITE_NAME}.yaml"
    path.write_text(SUITE)
    plan = make_plan(path, place / "runs", place / "data")
    last = plan.cells[-1]
    done = plan.closure([k for cell in plan.cells for k in cell.finals.values() if cell != last])
    Simulation(plan, Store(place / "runs"), TASKS, rows=4, pictures=1).finish(done)
    storage = opened(place / "runs")
    trained(storage, "a-study-" + "with-a-long-name-" * 3)
    labelled(storage)
    return place


def arguments_of(name: str, place: Path) -> list[str]:
    if name in WITHOUT_SUITE:
        return WITHOUT_SUITE[name]
    out = ["--out", str(place / "runs")]
    if name.startswith("tune"):
        return [*name.split(), *out]
    return [*COMMANDS[name], "--suite", str(place / f"{SUITE_NAME}.yaml"), *out]


def output(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, columns: int | None
) -> tuple[str, int]:
    """Return what a command writes on a terminal of some columns, or into a pipe."""
    if columns is None:
        ours, theirs = os.pipe()
    else:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    said = bytearray()

    def read() -> None:
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # The other end of a terminal is closed.
                return
            if not part:
                return
            said.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    for name in ("COLUMNS", "LINES", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "argv", ["im-bench", *arguments])
    status = 0
    with os.fdopen(theirs, "w", encoding="utf-8") as file, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", file)
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
    reader.join()
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode()), status


def words(text: str) -> set[str]:
    """Return what stands between spaces, without the marks that lists and tables put around it."""
    found = {word.strip(":,;") for word in text.split()}
    return {word for word in found if re.search(r"\w", word) and "━" not in word}


@pytest.mark.parametrize("name", [*COMMANDS, *WITHOUT_SUITE, "tune list"])
def test_what_a_pipe_gets_stands_whole_on_narrow_terminals(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = arguments_of(name, place)
    monkeypatch.chdir(place)
    piped, status = output(arguments, monkeypatch, None)
    assert status == 0
    assert "…" not in piped
    for columns in (80, 40):
        shown, status = output(arguments, monkeypatch, columns)
        assert status == 0
        assert words(piped) <= words(shown), f"lost at {columns} columns"


def test_the_words_of_a_study_are_whole(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = "a-study-" + "with-a-long-name-" * 3
    arguments = ["tune", "show", study, "--out", str(place / "runs"), "--all"]
    for columns in (None, 80, 40):
        said, _ = output(arguments, monkeypatch, columns)
        expected = {study, "0.6250", "0.5000", "0.25", "threshold", "impossible"}
        assert expected <= words(said), columns


def test_a_pipe_gets_all_names_and_addresses(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed, _ = output(["data", "list"], monkeypatch, None)
    for recipe in map(find_recipe, DATA_SETS):
        assert recipe.title in listed
        assert recipe.downloadable or recipe.home in listed
    listed, _ = output(["methods"], monkeypatch, None)
    for name in known_methods():
        (line,) = [line for line in listed.splitlines() if line.split()[:1] == [name]]
        assert schedule_class(name).title in line
        assert schedule_class(name).source in line
    shown, _ = output(arguments_of("show", place), monkeypatch, None)
    plan = make_plan(place / f"{SUITE_NAME}.yaml", place / "runs", place / "data")
    for stage in plan.closure([plan.cell(CELL).finals[1]]):
        assert any(line.startswith(f"{stage.folder} ") for line in shown.splitlines())


def piped(place: Path, name: str, *head: str, **environment: str) -> tuple[str, str, int]:
    """Run a command in a process of its own, before other commands of a shell."""
    command = subprocess.Popen(
        [sys.executable, "-m", "im_bench.cli.app", *arguments_of(name, place)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        text=True,
    )
    if head:
        assert command.stdout is not None
        command.stdout.close()
        assert command.stderr is not None
        return "", command.stderr.read(), command.wait()
    said, errors = command.communicate()
    return said, errors, command.returncode


@pytest.mark.parametrize("name", ["methods", "stages"])
def test_a_reader_that_goes_away_is_no_error(place: Path, name: str) -> None:
    _, errors, _ = piped(place, name, "closed")
    assert errors == ""


def test_a_terminal_of_ascii(place: Path) -> None:
    said, errors, status = piped(place, "table", PYTHONIOENCODING="ascii")
    assert (errors, status) == ("", 0)
    assert "+-" in said
    assert LONG in said


@pytest.mark.parametrize("columns", ["80", "40"])
def test_help_names_all_options(columns: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, _ = output(["run", "--help"], monkeypatch, int(columns))
    assert "--slots-per-gpu" in said
    assert "--log-checkpoints" in said
