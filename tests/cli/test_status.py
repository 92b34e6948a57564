from __future__ import annotations

import subprocess
from pathlib import Path

from .conftest import ABOVE, Command, on, on_terminal, words
from .test_run import LIGHT


def test_tells_each_cell_and_seed_and_why_one_failed(
    command: Command, light: Command, tmp_path: Path
) -> None:
    light("run", "--data", "lesions", "--seeds", "1", *LIGHT, LIGHT_FAIL="im/g2-labels")
    done = command("status")
    assert done.returncode == 0, done.stderr
    rows = {
        words[0]: words[1:]
        for line in done.stdout.splitlines()
        if (words := line.replace("│", " ").split())
    }
    assert rows["lesions/0.1/ldt"] == ["done", "planned", "1/4"]
    assert rows["lesions/0.1/im"] == ["failed", "6/10", "planned", "1/10"]
    assert rows["absent/0.1/im"] == ["no", "data", "no", "data"]
    assert "1 failed" in done.stdout
    failed = "failed: lesions/0.1/s1/im/g2-labels: the masks are upside down: turn them"
    assert failed in done.stdout.splitlines()

    (result,) = tmp_path.glob("runs/stages/lesions/0.1/s1/ldt/scores-*/result.json")
    result.write_text(result.read_text()[:30])
    assert "so its stage counts as not done" in command("status").stdout


PART = ("--data", "lesions", "--methods", "ldt", "--seeds", "1")


def test_watching_without_a_terminal_tells_each_change_until_all_is_done(
    light: Command, suite: Path, tmp_path: Path
) -> None:
    watcher = subprocess.Popen(
        words("status", *PART, "--watch", "--every", "0.1", *on(suite, tmp_path)),
        cwd=ABOVE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert watcher.stdout is not None
    assert watcher.stdout.readline().endswith("0 done of 4 stages\n")
    light("run", *PART, *LIGHT, LIGHT_FAIL="member2")
    line = next(line for line in watcher.stdout if "failed" in line)
    assert "failed lesions/0.1/s1/ldt/member2: the masks are upside down: turn them" in line
    light("run", *PART, *LIGHT, "--policy", "retry-failed")
    rest, _ = watcher.communicate()
    assert watcher.returncode == 0
    assert "done lesions/0.1/s1/ldt/scores\n" in rest
    assert rest.splitlines()[-1].endswith("4 done of 4 stages")
    assert "\x1b" not in rest


def test_watching_on_a_terminal_redraws_until_all_is_done(
    light: Command, suite: Path, tmp_path: Path
) -> None:
    light("run", *PART, *LIGHT)
    said, code = on_terminal(words("status", *PART, "--watch", *on(suite, tmp_path)))
    assert code == 0
    assert "lesions/0.1/ldt" in said
    assert "4 done of 4 stages" in said


def test_every_without_watch_is_wrong_input(command: Command) -> None:
    done = command("status", "--every", "2")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_folder_of_an_earlier_version_is_told(
    command: Command, light: Command, tmp_path: Path
) -> None:
    light("run", *PART, *LIGHT)
    for asked in ("status", "table"):
        done = command(asked, *PART)
        assert "under other keys" not in done.stdout + done.stderr
    # Keys contain the versions of recipes, so an earlier version's folders end in other hashes.
    for folder in tmp_path.glob("runs/stages/lesions/**/*-????????"):
        if folder.is_dir():
            folder.rename(folder.with_name(f"{folder.name[:-8]}0a0b0c0d"))
    for asked in ("status", "table"):
        done = command(asked, *PART)
        assert done.returncode == 0
        assert "has 4 of this plan's 4 stages under other keys" in done.stdout + done.stderr
    again = light("run", *PART, *LIGHT)
    assert again.returncode == 0, again.stderr
    assert "has 4 of this plan's 4 stages under other keys" in again.stdout
