from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from im_bench.data.pseudo_labels import write_pseudo_labels
from im_bench.errors import ImBenchError
from im_bench.models.checkpoints import load_checkpoint, save_checkpoint
from im_bench.training import hooks
from im_bench.training.cell import train_cell
from im_bench.training.config import build_config
from im_bench.training.control import Control, Progress, TrainingStopped
from im_bench.training.description import Training
from im_bench.training.runner import TrainingRunner, build_runner
from im_bench.training.scalars import read_rows

from .conftest import train_config, write_arrays

_NORM = {"type": "SyncBN"}
# Dropout draws random numbers of its own in each step.
DROPOUT_NETWORK = {
    "backbone": {"type": "ResNet", "depth": 18, "base_channels": 4, "norm_cfg": _NORM},
    "decode_head": {
        "type": "FCNHead",
        "in_channels": 32,
        "channels": 4,
        "num_convs": 1,
        "dropout_ratio": 0.5,
        "norm_cfg": _NORM,
        "num_classes": 1,
    },
}


def train(
    config: Training,
    data_dir: Path,
    folder: Path,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    control = Control(progress, stop or threading.Event())
    return train_cell(config, data_dir, folder, device="cpu", control=control)


def build(config: Training, data_dir: Path, folder: Path) -> TrainingRunner:
    return build_runner(build_config(config, data_dir, folder))


def weights(folder: Path, name: str = "scratch/last.pth") -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = load_checkpoint(folder / name)["state_dict"]
    return state


def assert_same_training(first: Path, second: Path) -> None:
    for name in ("scratch/last.pth", "best.pth"):
        one, other = weights(first, name), weights(second, name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    rows = [
        [{key: row[key] for key in row if key != "images_per_second"} for row in curve]
        for curve in (read_rows(first / "scalars.jsonl"), read_rows(second / "scalars.jsonl"))
    ]
    assert rows[0] == rows[1]


def stopping_at(iteration: int) -> tuple[threading.Event, Any]:
    """Return a stop request, and a progress that makes it once an iteration is reached."""
    stop = threading.Event()

    def progress(step: int, total: int, **numbers: float) -> None:
        if step >= iteration:
            stop.set()

    return stop, progress


def test_a_training_learns_and_leaves_what_it_should(data_dir: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int, dict[str, float]]] = []
    config = train_config(budget={"kind": "equal", "iterations": 60}, part="all", batch=8)
    outcome = train(
        config,
        data_dir,
        tmp_path,
        progress=lambda step, total, **numbers: told.append((step, total, numbers)),
    )
    assert outcome["iterations"] == 60
    assert outcome["images"] == 24
    assert outcome["val"]["iou"] > 0.5
    assert outcome["best_iteration"] in (20, 40, 60)
    assert {"iou", "dice", "loss"} <= outcome["val"].keys()
    rows = read_rows(tmp_path / "scalars.jsonl")
    curve = [row["train/loss"] for row in rows if "train/loss" in row]
    assert outcome["final_loss"] == curve[-1] < curve[0] / 2
    validations = [row for row in rows if "val/iou" in row]
    assert [row["iter"] for row in validations] == [20, 40, 60]
    best = max(validations, key=lambda row: row["val/iou"])
    assert outcome["val"]["iou"] == best["val/iou"]
    assert outcome["best_iteration"] == best["iter"]
    assert [row["iter"] for row in rows] == sorted(row["iter"] for row in rows)
    assert told[-1][:2] == (60, 60)
    assert told[-1][2]["loss"] == pytest.approx(outcome["final_loss"])
    assert {path.name for path in tmp_path.iterdir()} == {
        "best.pth",
        "scratch",
        "scalars.jsonl",
        "samples",
    }
    strips = sorted((tmp_path / "samples").iterdir())
    assert len(strips) == 4
    assert cv2.imread(str(strips[0])).shape == (32, 3 * 32 + 2 * 4, 3)


def test_a_training_needs_no_test_images(tmp_path: Path) -> None:
    data_dir = write_arrays(tmp_path / "data")
    for file in data_dir.glob("test_*.npy"):
        file.unlink()
    assert "iou" in train(train_config(), data_dir, tmp_path / "out")["val"]


@pytest.mark.parametrize(("space", "channels"), [("multiclass", 3), ("multilabel", 1)])
def test_all_label_spaces_train(space: str, channels: int, tmp_path: Path) -> None:
    data_dir = write_arrays(tmp_path / "data", space, channels)
    outcome = train(train_config(), data_dir, tmp_path / "out")
    assert 0 <= outcome["val"]["miou"] <= 1
    if space == "multiclass":
        soft = train(train_config(monitor="soft_miou"), data_dir, tmp_path / "soft")
        assert "soft_miou" in soft["val"]


def test_lower_is_better_for_the_loss(data_dir: Path, tmp_path: Path) -> None:
    outcome = train(train_config(monitor="loss", validations=6), data_dir, tmp_path)
    losses = [row["val/loss"] for row in read_rows(tmp_path / "scalars.jsonl") if "val/loss" in row]
    assert len(losses) == 6
    assert outcome["val"]["loss"] == min(losses)


@pytest.mark.parametrize("network", [{"width": 0.25}, DROPOUT_NETWORK], ids=["unet", "dropout"])
def test_a_stopped_training_resumes_to_the_same_bits(
    network: dict[str, Any], data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "_ROWS", 4)  # a row for 3 iterations, so that rows are cut as well
    config = train_config(model=network, budget={"kind": "equal", "iterations": 15}, batch=6)
    train(config, data_dir, tmp_path / "through")
    stop, progress = stopping_at(5)  # validations are at 5, 10 and 15
    with pytest.raises(TrainingStopped, match="after iteration 5 of 15"):
        train(config, data_dir, tmp_path / "cut", stop=stop, progress=progress)
    with pytest.raises(TrainingStopped):  # between validations
        train(config, data_dir, tmp_path / "cut", stop=_AfterChecks(2))
    assert load_checkpoint(tmp_path / "cut" / "scratch" / "last.pth")["meta"]["iter"] == 7
    train(config, data_dir, tmp_path / "cut")
    assert_same_training(tmp_path / "through", tmp_path / "cut")


class _AfterChecks(threading.Event):
    """A stop request that is seen after so many looks."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def is_set(self) -> bool:
        self._looks -= 1
        return self._looks < 0


def test_a_saved_state_has_its_validation_on_the_curve(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A kill right after the state was saved must not lose the row: it is not validated again.
    saved = []

    def save(path: Path, content: dict[str, Any]) -> None:
        if path.name == "last.pth":
            rows = read_rows(path.parent.parent / "scalars.jsonl")
            saved.append(
                any("val/iou" in row and row["iter"] == content["meta"]["iter"] for row in rows)
            )
        save_checkpoint(path, content)

    monkeypatch.setattr(hooks, "save_checkpoint", save)
    train(train_config(), data_dir, tmp_path)
    assert saved == [True, True, True]


def test_a_killed_training_resumes_to_the_same_bits(data_dir: Path, tmp_path: Path) -> None:
    config = train_config(budget={"kind": "equal", "iterations": 90}, validations=30)
    train(config, data_dir, tmp_path / "through")
    cut = tmp_path / "cut"
    cut.mkdir()
    code = (
        "from pathlib import Path; from im_bench.training.cell import train_cell; "
        "from im_bench.training.description import parse_training; "
        f"train_cell(parse_training({config.model_dump()!r}), Path({str(data_dir)!r}), "
        f"Path({str(cut)!r}), device='cpu')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while not (cut / "scratch" / "last.pth").exists() and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    assert load_checkpoint(cut / "scratch" / "last.pth")["meta"]["iter"] < 90
    train(config, data_dir, cut)
    assert_same_training(tmp_path / "through", cut)


def test_a_training_that_was_done_says_the_same_again(data_dir: Path, tmp_path: Path) -> None:
    first = train(train_config(), data_dir, tmp_path)
    before = (tmp_path / "scalars.jsonl").read_text()
    assert train(train_config(), data_dir, tmp_path) == first
    assert (tmp_path / "scalars.jsonl").read_text() == before


@pytest.mark.parametrize("name", ["scratch/last.pth", "best.pth", "scalars.jsonl"])
@pytest.mark.parametrize("how", ["turned", "cut", "missing"])
def test_damaged_leftovers_cost_time_and_nothing_else(
    name: str, how: str, data_dir: Path, tmp_path: Path
) -> None:
    train(train_config(), data_dir, tmp_path / "whole")
    stop, progress = stopping_at(4)
    with pytest.raises(TrainingStopped):
        train(train_config(), data_dir, tmp_path / "torn", stop=stop, progress=progress)
    path = tmp_path / "torn" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1 if name.endswith("pth") else 128
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(content if how == "turned" else content[: len(content) // 3])
    train(train_config(), data_dir, tmp_path / "torn")
    assert_same_training(tmp_path / "whole", tmp_path / "torn")


def test_leftovers_without_a_state_do_not_count(data_dir: Path, tmp_path: Path) -> None:
    train(train_config(), data_dir, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "torn")
    (tmp_path / "torn" / "scratch" / "last.pth").unlink()
    train(train_config(), data_dir, tmp_path / "torn")
    assert_same_training(tmp_path / "whole", tmp_path / "torn")


def test_seeds_differ(data_dir: Path, tmp_path: Path) -> None:
    train(train_config(seed=1), data_dir, tmp_path / "one")
    train(train_config(seed=2**31 + 1), data_dir, tmp_path / "two")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert not torch.equal(one["decode_head.conv_seg.weight"], two["decode_head.conv_seg.weight"])


def test_a_loss_that_explodes_is_named(data_dir: Path, tmp_path: Path) -> None:
    config = train_config(learning_rate=1e30, loss={"kind": "bce"})
    with pytest.raises(ImBenchError, match=r"became (nan|inf) .* learning rate 1e\+30: lower"):
        train(config, data_dir, tmp_path)
    assert not (tmp_path / "best.pth").exists()


def test_an_unknown_metric_is_named(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match="did you mean 'iou'"):
        train(train_config(monitor="iuo"), data_dir, tmp_path)
    with pytest.raises(ImBenchError, match="unknown validation metric 'mcce'"):
        train(train_config(monitor="mcce"), data_dir, tmp_path)


def test_a_module_that_does_not_exist_is_named(data_dir: Path, tmp_path: Path) -> None:
    config = train_config(model={"width": 0.25, "custom_imports": ["no_such_module"]})
    with pytest.raises(ImBenchError, match="no_such_module"):
        train(config, data_dir, tmp_path)


@pytest.mark.parametrize(
    "backbone",
    [{"type": "ResNyet"}, {"type": "ResNet", "depht": 18}, {"type": "ResNet", "depth": 19}],
)
def test_a_network_that_cannot_be_is_named(
    backbone: dict[str, Any], data_dir: Path, tmp_path: Path
) -> None:
    config = train_config(model={**DROPOUT_NETWORK, "backbone": backbone})
    with pytest.raises(ImBenchError, match=r"cannot be built .*(ResNyet|depht|19)"):
        train(config, data_dir, tmp_path)


def test_pseudo_labels_are_trained_on(data_dir: Path, tmp_path: Path) -> None:
    pseudo = tmp_path / "pseudo"
    labels = np.load(data_dir / "train_labels.npy")[8:]
    indices = np.arange(8, 8 + len(labels))
    write_pseudo_labels(pseudo, indices, labels, np.zeros_like(labels, bool), blank=True)
    (tmp_path / "out").mkdir()
    outcome = train_cell(train_config(), data_dir, tmp_path / "out", pseudo, device="cpu")
    assert outcome["images"] == 24
    # What the student says of the first images without a label.
    samples = tmp_path / "out" / "samples"
    assert len(list(samples.glob("unlabelled-*.png"))) == 8
    first = cv2.cvtColor(cv2.imread(str(samples / "unlabelled-0.png")), cv2.COLOR_BGR2RGB)
    assert first.shape == (32, 3 * 32 + 2 * 4, 3)
    assert (first[:, :32] == np.load(data_dir / "train_images.npy")[8]).all()


def test_synchronised_normalisation_becomes_plain(data_dir: Path, tmp_path: Path) -> None:
    config = train_config(model=DROPOUT_NETWORK)
    runner = build(config, data_dir, tmp_path)
    assert not any(isinstance(layer, nn.SyncBatchNorm) for layer in runner.model.modules())


class _Readings(TorchDispatchMode):
    """Counts the times that a tensor's value is asked for, which on a GPU waits for it."""

    count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_a_step_never_asks_for_a_value(data_dir: Path, tmp_path: Path) -> None:
    runner = build(train_config(), data_dir, tmp_path)
    optimizer = runner.build_optim_wrapper(runner.optim_wrapper)
    batch = next(iter(runner.train_dataloader))
    with _Readings() as readings:
        assert float(torch.ones(())) == 1
        assert readings.count == 1  # the counter counts
        outputs = runner.model.train_step(batch, optimizer)
    assert readings.count == 1
    assert outputs["loss"].requires_grad
