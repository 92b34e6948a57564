from __future__ import annotations

from pathlib import Path

from .conftest import Command, on, on_terminal, words
from .test_run import LIGHT


def test_lists_asks_and_removes(
    light: Command, command: Command, suite: Path, tmp_path: Path
) -> None:
    light("run", "--methods", "ldt", "--data", "lesions", *LIGHT)
    assert "nothing to remove" in command("gc").stdout
    suite.write_text(suite.read_text().replace("ldt: {members: 2}", "ldt: {members: 1}"))
    suite.write_text(suite.read_text().replace("members: 2, students", "members: 3, students"))
    # The members are wanted by im, the scores of two of them by nobody; of each seed that has run.
    listed = command("gc")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.splitlines()[0].startswith("stage ")
    assert "lesions/0.1/s2/ldt/scores-" in listed.stdout
    assert "2 stages: " in listed.stdout
    assert listed.stdout.endswith("nothing was removed: add --yes to remove it\n")

    def scores() -> int:
        return len(list(tmp_path.glob("runs/stages/lesions/0.1/s*/ldt/scores-*")))

    said, code = on_terminal(words("gc", *on(suite, tmp_path)), typed=b"n\n")
    assert (code, scores()) == (0, 2)
    assert "nothing was removed" in said
    said, code = on_terminal(words("gc", *on(suite, tmp_path)), typed=b"y\n")
    assert (code, scores()) == (0, 0)
    assert "freed " in said
    assert len(list(tmp_path.glob("runs/stages/**/result.json"))) == 5


def test_yes_needs_no_terminal_and_a_folder_must_be_one_of_results(
    light: Command, command: Command, suite: Path
) -> None:
    wrong = command("gc")
    assert wrong.returncode == 2
    assert "is no results folder" in wrong.stderr
    light("run", "--methods", "ldt", "--data", "lesions", *LIGHT)
    suite.write_text(suite.read_text().replace("train: 20", "train: 21"))
    done = command("gc", "--yes")
    assert done.returncode == 0
    assert "7 stages: " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("freed ")
