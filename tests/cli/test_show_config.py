"""A cell's training, printed as a config: MMSegmentation's own way to start the same training."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from im_bench.models.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[2]
SUITE = """
name: small
seeds: [1]
budget: equal
budgets: {equal: {iterations: 6}}
training: {batch: 4, validations: 2}
methods: {ldt: {members: 2}, unimatch+im: {im: {members: 2}}}
data:
  lesions:
    synth: {like: isic2018, train: 16, val: 4, test: 4}
    size: [32, 32]
    labelled: 0.5
    model: {width: 0.25}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite and its finished run."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(SUITE)
    done = im_bench(folder, "run", "--no-tracking")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def assert_same_weights(folder: Path, stage: Path) -> None:
    """Compare the best models of a training in some folder and of a stage, to the bit."""
    again, first = (load_checkpoint(path / "best.pth") for path in (folder, stage))
    assert again["meta"] == first["meta"]
    assert again["state_dict"].keys() == first["state_dict"].keys()
    for name, weights in first["state_dict"].items():
        assert torch.equal(again["state_dict"][name], weights), name


def im_bench(folder: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", "from im_bench.cli.app import main; main()", command, *arguments]
    options = ["--suite", "small.yaml", "--out", "out"]
    return subprocess.run(
        [*call, *options], capture_output=True, text=True, cwd=folder, check=False
    )


@pytest.mark.parametrize(
    ("cell", "training", "stage"),
    [
        ("ldt/s1", "member2", "ldt/member2-*"),
        ("unimatch+im/s1", "g1-student1", "unimatch+im/g1-student1-*"),
    ],
)
def test_a_printed_config_trains_to_the_same_bits(
    cell: str, training: str, stage: str, folder: Path, tmp_path: Path
) -> None:
    shown = im_bench(folder, "show", f"lesions/0.5/{cell}", "--config", "--training", training)
    assert shown.returncode == 0, shown.stderr
    (tmp_path / "cell.py").write_text(shown.stdout)
    trained = subprocess.run(
        [sys.executable, ROOT / "tools" / "train.py", "cell.py", "--work-dir", "again"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert trained.returncode == 0, trained.stderr
    (found,) = (folder / "out" / "stages" / "lesions" / "0.5" / "s1").glob(stage)
    assert_same_weights(tmp_path / "again", found)


def test_processes_of_a_suite_and_of_torchrun_train_to_the_same_bits(tmp_path: Path) -> None:
    methods = "methods: {ldt: {members: 1}}\nresources: {train: {processes: 2}}"
    suite = SUITE.replace("methods: {ldt: {members: 2}, unimatch+im: {im: {members: 2}}}", methods)
    assert suite != SUITE
    (tmp_path / "small.yaml").write_text(suite)
    done = im_bench(tmp_path, "run", "--no-tracking")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = im_bench(tmp_path, "show", "lesions/0.5/ldt/s1", "--config", "--device", "cpu")
    assert shown.returncode == 0, shown.stderr
    (tmp_path / "cell.py").write_text(shown.stdout)
    trained = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--standalone", ROOT / "tools" / "train.py", "cell.py", "--work-dir", "again"),
            *("--launcher", "pytorch"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert trained.returncode == 0, trained.stderr
    (found,) = (tmp_path / "out" / "stages").glob("lesions/0.5/s1/ldt/member1-*")
    assert_same_weights(tmp_path / "again", found)


def test_without_a_name_it_is_a_training_that_is_scored(folder: Path) -> None:
    shown = im_bench(folder, "show", "lesions/0.5/unimatch+im", "--config")
    assert shown.stdout.startswith("# lesions/0.5/s1/unimatch+im/g1-student1 of the suite small")


def test_a_training_that_is_not_there_is_named(folder: Path) -> None:
    shown = im_bench(folder, "show", "lesions/0.5/ldt", "--config", "--training", "membr2")
    assert shown.returncode == 2
    assert "unknown training of lesions/0.5/ldt 'membr2': did you mean 'member2'?" in shown.stderr


def test_data_that_were_not_prepared_are_named(folder: Path) -> None:
    shown = im_bench(folder, "show", "lesions/0.5/ldt", "--config", "--seeds", "2")
    assert shown.returncode == 0  # the data do not depend on the seed
    shown = im_bench(folder, "show", "lesions/0.5/unimatch+im", "--config", "--seeds", "2")
    assert shown.returncode == 2
    assert "reads lesions/0.5/s2/unimatch+im/g1-labels, which does not exist yet" in shown.stderr
