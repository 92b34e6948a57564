from __future__ import annotations

import subprocess
import sys

import pytest

from im_bench.runner.provenance import device_name

from .conftest import Command
from .test_run import LIGHT


def test_counts_stages_with_and_without_sharing(command: Command) -> None:
    done = command("plan", "--data", "lesions", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    rows = {
        words[0]: words[1:]
        for line in done.stdout.splitlines()
        if (words := line.replace("│", " ").split())
    }
    # LDT's two members are the first teachers of IM, whose two generations train two students each.
    assert rows["train"] == ["6", "8", "0", "6"]
    assert rows["pseudo-label"] == ["2", "2", "0", "2"]
    assert rows["all"] == ["11", "14", "0", "11"]
    assert rows["lesions/0.1/im"] == ["1", "10", "3", "6", "0/10"]


def test_lists_every_stage_and_what_has_no_data(command: Command) -> None:
    done = command("plan", "--stages", "--methods", "ldt", "--seeds", "1")
    lines = done.stdout.splitlines()
    assert len([line for line in lines if line.startswith("planned")]) == 8
    assert "train" in lines[1]
    assert lines[-1].startswith("left out: data set 'absent' is not at ")


HEAVY = ("torch", "mmengine", "mmseg", "cv2", "pandas", "wandb", "numpy")


@pytest.mark.parametrize("arguments", [["--help"], ["plan", "--suite", "from-scratch"]])
def test_help_and_plan_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('HEAVY', [m for m in {HEAVY} if m in sys.modules]))\n"
        "from im_bench.cli.app import main\n"
        f"sys.argv = ['im-bench', *{arguments}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_tells_what_the_rest_takes(command: Command, light: Command) -> None:
    nothing = command("plan", "--cost", "--data", "lesions")
    assert nothing.returncode == 0, nothing.stderr
    assert "unknown: 12 stages of kind train" in nothing.stdout
    assert "nothing was measured yet" in nothing.stdout

    light("run", "--data", "lesions", "--methods", "ldt", "--seeds", "1", *LIGHT)
    done = command("plan", "--cost", "--methods", "im", "--slots", "2")
    assert done.returncode == 0, done.stderr
    rows = {
        words[0]: words[1:]
        for line in done.stdout.splitlines()
        if (words := line.replace("│", " ").split())
    }
    # Two seeds: four students each, two label stages, scores; of the second seed two members too.
    assert (rows["all"][0], rows["all"][-1]) == ("16", "4")
    assert rows["absent/0.1/im"][:2] == ["(left", "out)"]
    assert "unknown: 4 stages of kind pseudo-label" in done.stdout
    assert rows["same"] == ["data", "set", "and", "kind", "10"]  # Eight students, two scores.
    assert "with --slots 2: at least about" in done.stdout
    assert device_name("cpu") in done.stdout

    light("run", "--data", "lesions", *LIGHT)
    assert "nothing is left of tiny-equal" in command("plan", "--cost", "--data", "lesions").stdout
    assert "none of its cells can run here" in command("plan", "--cost", "--data", "absent").stdout
    assert command("plan", "--slots", "2").returncode == 2
