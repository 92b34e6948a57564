"""Searches with light stages, in this process and by the command line."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from im_bench.cli.app import main
from im_bench.runner.engines import local
from im_bench.runner.engines.options import LocalOptions
from im_bench.runner.store import Store
from im_bench.tuning.session import Choices, Ran, make_task, run_search
from im_bench.tuning.storage import open_storage
from im_bench.tuning.study import TrialRecord, load_study, records_of

from . import light

PACKAGE = str(__package__)
ABOVE = Path(__file__).parents[PACKAGE.count(".") + 1]

SUITE = """
name: tiny
seeds: [1]
budget: equal
training: {batch: 4, validations: 5}
data:
  isic: {synth: {like: isic2018, train: 24, val: 6, test: 6}, size: [32, 32]}
  more: {synth: {like: isic2018, train: 20, val: 6, test: 6}, size: [32, 32]}
methods:
  fixmatch: {}
  supervised: {}
"""
SPACE = "threshold: {low: 0.1, high: 0.99}\n"


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for something, which must happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass
class Laboratory:
    """A suite, a space and a results folder for searches.

    Attributes:
        folder: Where all of it lies.
        storage: The journal, or a database's URL.
        started: Searches that were started.
        exits: What is left when the test is over.
    """

    folder: Path
    storage: str = ""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    exits: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.suite.write_text(SUITE)
        self.space.write_text(SPACE)
        self.storage = self.storage or str(self.out / "tuning" / "studies.journal")

    @property
    def suite(self) -> Path:
        """The suite's file."""
        return self.folder / "tiny.yaml"

    @property
    def space(self) -> Path:
        """What is searched."""
        return self.folder / "space.yaml"

    @property
    def out(self) -> Path:
        """The results folder."""
        return self.folder / "runs"

    @property
    def store(self) -> Store:
        """The results folder's stages."""
        return Store(self.out)

    def records(self, name: str = "s") -> list[TrialRecord]:
        """Return the trials of a study."""
        return records_of(load_study(open_storage(self.storage), name))

    def counted(self, name: str = "s") -> list[TrialRecord]:
        """Return the trials of a study that are of its budget."""
        return [record for record in self.records(name) if record.counts]

    def trainings(self) -> dict[Path, list[list[str]]]:
        """Return the steps of all trainings, each with who took it, by folder."""
        return {
            path.parent: [line.split() for line in path.read_text().splitlines()]
            for path in self.store.stages.glob("**/steps.txt")
        }

    # In this process.

    def search(self, trials: int, data: list[str] | None = None, seeds: list[int] | None = None,
               **choices: Any) -> tuple[Ran, str]:  # fmt: skip
        """Search in this process; return how it ended and what it said."""
        said = Console(file=StringIO(), width=200)
        task = make_task(self.suite, "fixmatch", self.out, self.folder, data=data or ["isic"],
                         seeds=seeds, space=self.space)  # fmt: skip
        chosen = Choices(trials, **{"parallel": 2, "study": "s", **choices})
        with open_storage(self.storage) as storage:
            ran = run_search(task, chosen, storage, LocalOptions(slots=2, device="cpu"), said,
                             attempts=1)  # fmt: skip
        return ran, said.file.getvalue()  # type: ignore[attr-defined]

    # By the command line.

    def words(self, trials: int, *options: str) -> list[str]:
        """Return a command that searches."""
        return [
            sys.executable, "-m", f"{PACKAGE}.light", "tune", "--suite", str(self.suite),
            "--method", "fixmatch", "--data", "isic", "--trials", str(trials), "--study", "s",
            "--out", str(self.out), "--space", str(self.space), "--storage", self.storage,
            "--no-tracking", "--attempts", "1", "--device", "cpu", *options,
        ]  # fmt: skip

    def start(self, trials: int, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a search in a process group of its own."""
        said = self.folder / f"said-{len(self.started)}.txt"
        with said.open("wb") as file:
            process = subprocess.Popen(
                self.words(trials, *options),
                cwd=ABOVE,
                env={**os.environ, **environment},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def said(self, process: subprocess.Popen[bytes]) -> str:
        """Return what a search has said so far."""
        return (self.folder / f"said-{self.started.index(process)}.txt").read_text()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process, and return how it went."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["im-bench", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return subprocess.CompletedProcess(words, int(end.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    """A suite, a space and an empty results folder; stages are light."""
    light.light_kinds(monkeypatch)
    monkeypatch.setattr(local, "PRELOAD", light.PRELOAD)
    made = Laboratory(tmp_path)
    with made.exits:
        yield made
    for process in made.started:  # Those that a test that failed has left.
        if process.poll() is None:
            process.kill()
            process.wait()
