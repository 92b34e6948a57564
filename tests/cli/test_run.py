from __future__ import annotations

import glob
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from im_bench.cli.run import _command

from .conftest import ABOVE, Command, words

#: Options under which a run needs neither a network nor a GPU.
LIGHT = ("--no-tracking", "--slots", "2", "--device", "cpu")


def test_runs_a_suite_and_ends_with_the_table(light: Command) -> None:
    done = light("run", "--data", "lesions", "--seeds", "1", *LIGHT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "started lesions/data" in done.stdout
    assert "11 of 11 stages done, 0 running, 0 waiting" in done.stdout
    assert "Inconsistency Masks (IM)" in done.stdout
    assert "60.0" in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == ""

    again = light("run", "--data", "lesions", "--seeds", "1", "--no-table", *LIGHT)
    assert again.returncode == 0
    assert "started" not in again.stdout
    assert "Inconsistency" not in again.stdout

    never = light("run", "--data", "lesions", "--policy", "never", *LIGHT)
    assert "Inconsistency Masks (IM)" in never.stdout
    assert "1 of 2" in never.stdout


def test_failures_are_told_with_the_command_that_goes_on(light: Command) -> None:
    part = ("run", "--data", "lesions", "--seeds", "1", "--policy", "only-missing", *LIGHT)
    done = light(*part, LIGHT_FAIL="im/g1-labels")
    assert done.returncode == 1
    assert (
        "failed: lesions/0.1/s1/im/g1-labels: the masks are upside down: turn them" in done.stdout
    )
    assert "skipped: 6 stages" in done.stdout
    assert "Labelled only (LDT)" in done.stdout
    assert "retry-failed" not in done.stdout
    lines = iter(done.stdout.splitlines())
    assert "correct what is wrong there, then run again:" in lines
    assert next(lines).strip().startswith("im-bench run --data lesions")
    assert light(*part).returncode == 0


def test_failures_that_nobody_can_correct_are_tried_again_on_demand(light: Command) -> None:
    part = ("run", "--data", "lesions", "--seeds", "1", "--policy", "only-missing", *LIGHT)
    broken = {"LIGHT_FAIL": "im/g1-labels", "LIGHT_FAIL_HOW": "bug"}
    done = light(*part, "--attempts", "1", **broken)
    assert "failed: lesions/0.1/s1/im/g1-labels: RuntimeError: the masks" in done.stdout
    retry = next(line for line in done.stdout.splitlines() if line.endswith("retry-failed"))
    assert retry.strip().startswith("im-bench run --data lesions")
    assert "only-missing" not in retry
    assert "correct what is wrong" not in done.stdout
    assert light(*part).returncode == 1
    assert light(*part[: -len(LIGHT) - 2], "--policy=retry-failed", *LIGHT).returncode == 0


def test_missing_data_are_refused_with_a_sentence(light: Command) -> None:
    some = light("run", "--methods", "ldt", "--seeds", "1", *LIGHT)
    assert some.returncode == 1
    assert "done lesions/0.1/s1/ldt/scores" in some.stdout
    assert "left out: absent/0.1/ldt: data set 'absent' is not at " in some.stdout


def test_wrong_input_is_one_sentence_and_status_2(command: Command, tmp_path: Path) -> None:
    def sentence(*arguments: str) -> str:
        done = command("run", *arguments, *LIGHT)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        return done.stderr

    absent = sentence("--data", "absent")
    assert absent.startswith("error: data set 'absent' is not at ")
    assert "im-bench data prepare" in absent
    assert "unknown method in this suite 'in': did you mean 'im'?" in sentence("--methods", "in")
    assert "did you mean 'lesions'?" in sentence("--data", "leisons")
    assert "unknown policy 'retry': did you mean 'retry-failed'?" in sentence("--policy", "retry")
    assert "'x' is not a whole number" in sentence("--seeds", "1,x")
    assert "none twice" in sentence("--seeds", "1,1")
    (tmp_path / "runs").touch()
    assert "cannot be written" in sentence("--data", "lesions")


def test_ctrl_c_prints_the_command_that_continues(suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    arguments = ["run", "--suite", str(suite), "--data", "lesions", "--out", str(out), *LIGHT]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        words(*arguments, "--policy", "always"),
        cwd=ABOVE,
        env={**os.environ, "LIGHT_SECONDS": "5", "COLUMNS": "200", "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    deadline = time.monotonic() + 30
    while not glob.glob(f"{out}/stages/**/progress.json", recursive=True):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    said = b""
    while True:
        try:
            said += os.read(ours, 4096)
        except OSError:  # The other end is closed.
            break
    os.close(ours)
    assert process.wait() == 130
    text = said.decode()
    assert "Continue with:" in text
    assert f"im-bench {' '.join(arguments)} --policy only-missing" in " ".join(text.split())
    assert not list(out.glob("stages/**/lock"))
    while is_alive(process.pid):  # The process from which stages are forked ends last.
        assert time.monotonic() < deadline, "a process was left behind"


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_command_to_go_on_with_is_found_by_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [".venv/bin/im-bench", "run", "--suite", "my suite.yaml", "--policy", "always"]
    monkeypatch.setattr(sys, "argv", given)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _command("only-missing") == (
        ".venv/bin/im-bench run --suite 'my suite.yaml' --policy only-missing"
    )
    program = tmp_path / "im-bench"
    program.touch(0o755)
    assert _command() == "im-bench run --suite 'my suite.yaml' --policy always"
