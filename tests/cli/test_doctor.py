from __future__ import annotations

import os
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


def test_what_networks_lack_is_found_before_a_run(tmp_path: Path) -> None:
    (tmp_path / "ownbroken.py").write_text("import no_such_library")
    (tmp_path / "own.yaml").write_text(
        "name: own\nseeds: [1]\nmethods: {ldt: {members: 1}}\ndata:\n  drawn:\n"
        "    synth: {like: isic2018}\n    size: [32, 32]\n    model:\n"
        "      custom_imports: [ownbroken, ownmissing]\n"
        "      backbone: {type: Own, pretrained: absent.pth}\n      decode_head: {type: FCNHead}\n"
    )
    places = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])

    def im_bench(*words: str) -> subprocess.CompletedProcess[str]:
        code = "from im_bench.cli.app import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *words, "--suite", "own.yaml"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": places, "COLUMNS": "200"},
            capture_output=True,
            text=True,
        )

    doctor = im_bench("doctor")
    assert doctor.returncode == 1
    assert "there is no module 'ownmissing'" in doctor.stdout
    assert "ownbroken cannot be imported: ModuleNotFoundError: No module named" in doctor.stdout
    assert "weights absent.pth are not there" in doctor.stdout
    assert "drawn: built in" in doctor.stdout
    planned = im_bench("plan")
    assert planned.stdout.splitlines()[-1].startswith("left out: custom_imports of the model: ")
    run = im_bench("run", "--no-tracking")
    assert run.returncode == 2
    assert "weights absent.pth are not there" in run.stderr
