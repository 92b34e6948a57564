"""A results folder that an earlier version wrote: one sentence, and nothing in it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from im_bench.files import SEAL, read_json, sealed, write_json

from .conftest import Command
from .test_run import LIGHT

COMMANDS = (
    ("run", "--no-tracking"),
    ("retry",),
    ("status",),
    ("table",),
    ("report",),
    ("gc", "--yes"),
    ("show", "lesions/0.1/ldt"),
    ("logs", "lesions/0.1/ldt"),
)


def earlier(path: Path) -> None:
    """Write a stage as the version before coordinates did, with the config that it had."""
    stage = read_json(path)
    del stage["coordinates"], stage[SEAL]
    if stage["kind"] == "train":
        stage["config"] = {"steps": 10, "method": None}
    write_json(path, sealed({**stage, "recipe": 1}))


@pytest.fixture
def old(light: Command, tmp_path: Path) -> Path:
    done = light("run", "--methods", "ldt", "--data", "lesions", "--seeds", "1", *LIGHT)
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "runs").rglob("stage.json"):
        earlier(path)
    return tmp_path / "runs"


def test_every_command_says_so_in_one_sentence(old: Path, command: Command) -> None:
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    for words in COMMANDS:
        said = command(*words)
        assert said.returncode == 2, words
        assert said.stderr.count("\n") == 1, words
        assert f"results folder {old} was written by an earlier version" in said.stderr, words
    after = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before


def test_a_damaged_stage_is_not_taken_for_an_old_one(
    light: Command, command: Command, tmp_path: Path
) -> None:
    light("run", "--methods", "ldt", "--data", "lesions", "--seeds", "1", *LIGHT)
    for path in (tmp_path / "runs").rglob("stage.json"):
        path.write_text("{")
    assert command("status").returncode == 0
