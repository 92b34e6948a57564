from __future__ import annotations

import shutil
from pathlib import Path

from im_bench.files import read_json, write_json

from .conftest import Command
from .test_run import LIGHT

CELL = "lesions/0.1/im"


def test_two_cells_and_one_cell_in_two_folders(
    command: Command, light: Command, tmp_path: Path
) -> None:
    light("run", "--data", "lesions", "--seeds", "1", *LIGHT)
    done = command("diff", CELL, "lesions/0.1/ldt")
    assert done.returncode == 0, done.stderr
    said = done.stdout.replace("│", " ")
    assert "results: test.iou 0.6 0.5 s1" in " ".join(said.split())
    assert "config" not in said

    other = tmp_path / "other"
    shutil.copytree(tmp_path / "runs", other)
    done = command("diff", CELL, "--out2", str(other))
    assert (done.returncode, done.stdout) == (0, "nothing differs\n")
    (origin,) = other.glob("stages/lesions/0.1/s1/im/scores-*/provenance-1.json")
    write_json(origin, {**read_json(origin), "device": "NVIDIA H100"})
    done = command("diff", CELL, "--out2", str(other))
    assert "origin: device" in done.stdout
    assert "NVIDIA H100" in done.stdout

    budgets = command("diff", f"{CELL}/s1", "--budget2", "paper")
    assert "config: budget.epochs" in budgets.stdout
    seeds = command("diff", f"{CELL}/s1", f"{CELL}/s2")
    assert "config: seed" in seeds.stdout


def test_wrong_input(command: Command) -> None:
    for arguments, sentence in (
        ([CELL], "one and the same cell"),
        ([CELL, "lesions/0.1/imm"], "did you mean 'lesions/0.1/im'?"),
        ([CELL, "--suite2", "quickstar"], "did you mean 'quickstart'?"),
        ([CELL, "--budget2", "equl"], "did you mean 'equal'?"),
    ):
        done = command("diff", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert sentence in done.stderr
