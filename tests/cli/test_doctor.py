from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from im_bench.cli.doctor import prepare_command

from .conftest import Command
from .test_plan import HEAVY


def test_tells_what_is_missing_and_how_to_mend_it(command: Command, tmp_path: Path) -> None:
    done = command("doctor", "--data-root", str(tmp_path / "data"))
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    (at,) = [i for i, line in enumerate(lines) if line.startswith("problem")]
    assert "data set 'absent' is not at " in lines[at]
    assert "im-bench data check" in "".join(lines[at + 1 : at + 3])
    assert "data set lesions: built in, it is drawn" in done.stdout
    assert "1 problem" in lines[-1]


def test_a_machine_without_problems_ends_with_0_and_nothing_heavy_is_imported(
    tmp_path: Path,
) -> None:
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('HEAVY', [m for m in {HEAVY} if m in sys.modules]))\n"
        "from im_bench.cli.app import main\n"
        f"sys.argv = ['im-bench', 'doctor', '--out', {str(tmp_path)!r}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"
    assert "PyTorch" in done.stdout
    assert "imports: mmcv" in done.stdout
    assert "Weights & Biases: offline" in done.stdout


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("isic2018", "im-bench data prepare isic2018 --root 'my data'"),
        ("suim", "im-bench data prepare suim --root 'my data' --source FOLDER  # of https://"),
        ("cityscapes-semi/u2pl-1-4.yaml", "im-bench data prepare cityscapes-semi --root 'my data'"),
        ("own", "im-bench data check 'my data/own'"),
    ],
)
def test_the_command_that_prepares_a_data_set(folder: str, command: str) -> None:
    assert prepare_command(folder, Path("my data")).startswith(command)


def test_wrong_input(command: Command) -> None:
    done = command("doctor", "--engine", "slrm")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'slurm'?" in done.stderr
