from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .conftest import ABOVE, Command, on, words
from .test_run import LIGHT

PART = ("run", "--data", "lesions", "--seeds", "1", *LIGHT)


def test_shows_the_failed_stage_and_how_to_see_the_others(command: Command, light: Command) -> None:
    nothing = command("logs", "lesions/0.1/im")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr == "nothing of lesions/0.1/im has run yet\n"

    light(*PART, LIGHT_FAIL="im/g1-labels")
    done = command("logs", "lesions/0.1/im/s1")
    assert done.returncode == 0, done.stderr
    assert "upside down" in done.stdout
    remarks = done.stderr.splitlines()
    assert remarks[0].startswith("lesions/0.1/s1/im/g1-labels (failed): ")
    assert remarks[1] == "failed: the masks are upside down: turn them"
    assert remarks[2].startswith("3 other stages have a log: add --stage PART, such as ")
    assert command("logs", "lesions/0.1/im/s1", "--lines", "1").stdout.count("\n") == 1


def test_a_stage_is_chosen_by_a_part_of_its_name(command: Command, light: Command) -> None:
    light(*PART, "--methods", "ldt")
    done = command("logs", "lesions/0.1/ldt", "--stage", "member2")
    assert done.stderr.startswith("lesions/0.1/s1/ldt/member2 (done): ")
    assert "attempt 1 at lesions/0.1/s1/ldt/member2" in done.stdout
    wrong = command("logs", "lesions/0.1/ldt", "--stage", "membre1")
    assert wrong.returncode == 2
    assert "unknown stage 'membre1': did you mean 'ldt/member1'?" in wrong.stderr
    wrong = command("logs", "lesion/0.1/ldt")
    assert wrong.returncode == 2
    assert "did you mean 'lesions/0.1/ldt'?" in wrong.stderr


def test_follows_a_stage_to_its_end(suite: Path, tmp_path: Path) -> None:
    stage = ("--data", "lesions", "--seeds", "1", "--methods", "ldt")
    runner = subprocess.Popen(
        words("run", *stage, *LIGHT, *on(suite, tmp_path)),
        cwd=ABOVE,
        env={**os.environ, "LIGHT_SECONDS": "2", "LIGHT_FAIL": "ldt/scores"},
        stdout=subprocess.DEVNULL,
    )
    log = None
    while not (log and "attempt" in log.read_text()):
        log = next(tmp_path.glob("runs/stages/lesions/data-*/log.txt"), None)
        assert runner.poll() is None
    follow = words("logs", "lesions/0.1/ldt/s1", *on(suite, tmp_path), "--follow")
    done = subprocess.run(
        [*follow, "--stage", "lesions/data"], cwd=ABOVE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert " done in " in done.stdout
    assert "done: lesions/data" in done.stderr
    runner.wait()
    failed = subprocess.run(follow, cwd=ABOVE, capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr.startswith("lesions/0.1/s1/ldt/scores (failed)")
