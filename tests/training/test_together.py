"""One training in two processes: the same steps as in one, and one life."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from im_bench.errors import ImBenchError
from im_bench.models.checkpoints import load_checkpoint
from im_bench.training.cell import train_cell
from im_bench.training.control import Control, TrainingStopped
from im_bench.training.description import Training
from im_bench.training.scalars import read_rows
from im_bench.training.together import LostProcess, _built_in, train_together

from .conftest import online_training, train_config, write_arrays

# A shallow network: in a deep one with few pixels per channel, the order of a batch alone changes
# gradients by a thousandth.
NORM = {"type": "SyncBN"}
NETWORK = {
    "backbone": {
        "type": "ResNet",
        "depth": 18,
        "base_channels": 8,
        "num_stages": 1,
        "strides": [1],
        "dilations": [1],
        "out_indices": [0],
        "norm_cfg": NORM,
    },
    "decode_head": {
        "type": "FCNHead",
        "in_channels": 8,
        "in_index": 0,
        "channels": 8,
        "num_convs": 1,
        "dropout_ratio": 0,
        "norm_cfg": NORM,
        "num_classes": 1,
    },
}
# Nothing is drawn in a step. Adam's first step is the sign of a gradient, which rounding may turn.
PLAIN: dict[str, Any] = {
    "augmentation": None,
    "copies": 1,
    "part": "all",
    "batch": 8,
    "optimizer": "sgd",
}


def together(training: Training, data_dir: Path, folder: Path, **control: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    return train_together(2, training, data_dir, folder, device="cpu", control=Control(**control))


def weights(folder: Path, name: str = "scratch/last.pth") -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = load_checkpoint(folder / name)["state_dict"]
    return state


def test_two_processes_make_the_steps_of_one(data_dir: Path, tmp_path: Path) -> None:
    training = train_config(**PLAIN, model=NETWORK, learning_rate=0.05)
    (tmp_path / "one").mkdir()
    one = train_cell(training, data_dir, tmp_path / "one", device="cpu")
    two = together(training, data_dir, tmp_path / "two")
    curves = [
        [
            row["train/loss"]
            for row in read_rows(tmp_path / name / "scalars.jsonl")
            if "train/loss" in row
        ]
        for name in ("one", "two")
    ]
    assert len(curves[0]) == 12
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)
    assert two["iterations"] == one["iterations"]
    for name, value in weights(tmp_path / "one").items():
        torch.testing.assert_close(weights(tmp_path / "two")[name], value, rtol=1e-3, atol=1e-4)


def test_scores_are_exactly_those_of_one_process(data_dir: Path, tmp_path: Path) -> None:
    # Both validate the first weights, which neither the rate nor the running statistics change.
    still = {
        **NETWORK,
        "backbone": {**NETWORK["backbone"], "norm_cfg": {"type": "SyncBN", "momentum": 0}},
    }
    still["decode_head"] = {**NETWORK["decode_head"], "norm_cfg": {"type": "SyncBN", "momentum": 0}}
    training = train_config(**PLAIN, model=still, learning_rate=1e-30, weight_decay=0)
    (tmp_path / "one").mkdir()
    one = train_cell(training, data_dir, tmp_path / "one", device="cpu")
    two = together(training, data_dir, tmp_path / "two")
    assert two["val"] == one["val"]


@pytest.mark.parametrize("method", ["unimatch", "imas", "daw"])
def test_a_stopped_training_resumes_to_the_same_bits(method: str, tmp_path: Path) -> None:
    data_dir = write_arrays(tmp_path / "data")
    partner = {"partner": "same"} if method in ("unimatch", "daw") else {}
    training = online_training({"name": method, **partner})
    together(training, data_dir, tmp_path / "whole")
    stop = threading.Event()

    def progress(step: int, total: int, **numbers: float) -> None:
        if step >= 4:
            stop.set()

    with pytest.raises(TrainingStopped, match="stopped after iteration"):
        together(training, data_dir, tmp_path / "cut", stop=stop, progress=progress)
    together(training, data_dir, tmp_path / "cut")
    again, whole = weights(tmp_path / "cut"), weights(tmp_path / "whole")
    assert again.keys() == whole.keys()
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_a_process_that_is_killed_ends_all_and_the_training_goes_on(tmp_path: Path) -> None:
    data_dir = write_arrays(tmp_path / "data")
    training = train_config(**PLAIN | {"budget": {"kind": "equal", "iterations": 60}})
    together(training, data_dir, tmp_path / "whole")
    killed: list[int] = []

    def kill_one() -> None:
        while not (tmp_path / "cut" / "scratch" / "last.pth").exists():
            time.sleep(0.01)
        children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
        pids = [int(pid) for each in children for pid in each.read_text().split()]
        spawned = [
            pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        killed.extend(spawned)
        os.kill(spawned[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(LostProcess, match=r"one of 2 processes died \(Killed\)"):
        together(training, data_dir, tmp_path / "cut")
    killer.join()
    assert len(killed) >= 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in killed)
    together(training, data_dir, tmp_path / "cut")
    again, whole = weights(tmp_path / "cut"), weights(tmp_path / "whole")
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_errors_keep_the_kind_by_which_they_are_explained() -> None:
    error = OSError(28, "No space left on device")
    assert _built_in(error) is error
    gpu = _built_in(torch.OutOfMemoryError("CUDA out of memory"))
    assert type(gpu) is RuntimeError
    assert str(gpu) == "OutOfMemoryError: CUDA out of memory"


def test_a_batch_that_cannot_be_divided_is_refused(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match="a batch of 5 images cannot be divided among 2"):
        together(train_config(**PLAIN | {"batch": 5}), data_dir, tmp_path)
