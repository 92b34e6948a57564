from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from .conftest import ABOVE, Command, on, words
from .test_run import LIGHT

SEEDS = ("--data", "lesions", *LIGHT, "--no-table")


def test_runs_again_what_failed_and_leaves_the_rest_alone(
    command: Command, light: Command, tmp_path: Path
) -> None:
    nothing = light("retry", *LIGHT)
    assert (nothing.returncode, nothing.stdout) == (0, "nothing has failed\n")

    light("run", *SEEDS, "--seeds", "1", LIGHT_FAIL="im/g1-labels")
    light("run", *SEEDS, "--seeds", "2", LIGHT_FAIL="ldt/member1")
    for cell in ("lesions/0.1/ldt/s1", "absent/0.1/im"):
        done = light("retry", cell, *LIGHT)
        assert (done.returncode, done.stdout) == (0, "nothing of these cells has failed\n")

    again = light("retry", "lesions/0.1/im/s1", *LIGHT, LIGHT_FAIL="im/g1-labels")
    assert again.returncode == 1
    assert "failed: lesions/0.1/s1/im/g1-labels: the masks are upside down" in again.stdout
    assert f"  im-bench retry lesions/0.1/im/s1 {' '.join(LIGHT)}" in again.stdout

    one = light("retry", "lesions/0.1/im/s1", *LIGHT)
    assert one.returncode == 0, one.stdout
    assert "done lesions/0.1/s1/im/scores" in one.stdout
    assert "/s2/" not in one.stdout
    assert "60.0" in one.stdout

    rest = light("retry", *LIGHT)
    assert rest.returncode == 0, rest.stdout
    assert "done lesions/0.1/s2/ldt/scores" in rest.stdout
    assert "done lesions/0.1/s2/im/scores" in rest.stdout


def test_wrong_input(command: Command) -> None:
    done = command("retry", "lesions/0.1/ims")
    assert done.returncode == 2
    assert "did you mean 'lesions/0.1/im'?" in done.stderr
    assert command("retry", "--partition", "gpu").returncode == 2


def test_a_stop_is_followed_by_a_command_that_goes_on(
    light: Command, suite: Path, tmp_path: Path
) -> None:
    light("run", *SEEDS, "--seeds", "1", LIGHT_FAIL="ldt/member1")
    process = subprocess.Popen(
        words("retry", "lesions/0.1/ldt", *LIGHT, *on(suite, tmp_path)),
        cwd=ABOVE,
        env={**os.environ, "LIGHT_SECONDS": "5"},
        stdout=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob("runs/stages/**/lock")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 130
    line = next(line for line in said.splitlines() if line.startswith("  im-bench run "))
    assert "lesions/0.1/ldt" not in line
    assert line.endswith("--methods ldt --data lesions --seeds 1 --policy retry-failed")
    go_on = light(*line.split()[1:])
    assert go_on.returncode == 0, go_on.stdout + go_on.stderr
