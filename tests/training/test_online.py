"""Every online method as a training of the harness: it learns, stops, resumes, is used."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from online_methods import ONLINE, SMALL, partner

from im_bench.data.pseudo_labels import write_pseudo_labels
from im_bench.files import write_json
from im_bench.models.checkpoints import load_checkpoint
from im_bench.training.cell import train_cell
from im_bench.training.control import Control, TrainingStopped
from im_bench.training.description import OnlineTraining
from im_bench.training.inference import load_model
from im_bench.training.scalars import read_rows

from .conftest import SIZE, online_training, write_arrays

TWINS: dict[str, dict[str, Any]] = {
    "segkc": {
        "backbone": {"type": "ResNetV1c", "depth": 18, "base_channels": 4, "stem_channels": 4},
        "decode_head": {"type": "FCNHead", "in_channels": 32, "in_index": 3, "channels": 4},
    }
}


def online_config(name: str, **fields: Any) -> OnlineTraining:
    fields = {"twin": TWINS[name], **fields} if name in TWINS else fields
    method = {"name": name, "partner": partner(name), **SMALL.get(name, {})}
    return online_training(method, **fields)


def pseudo_labels(folder: Path) -> Path:
    """Write pseudo-labels for most of the unlabelled images of the squares."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    count = 14  # of 16: two images were not kept
    labels = rng.integers(0, 2, (count, SIZE, SIZE), dtype=np.uint8)
    masks = rng.integers(0, 2, (count, SIZE, SIZE)).astype(bool)
    write_pseudo_labels(folder, np.arange(8, 8 + count), labels * ~masks, masks, blank=True)
    return folder


def train(config: Any, data_dir: Path, folder: Path, pseudo: Path | None = None, **control: Any):
    folder.mkdir(exist_ok=True)
    return train_cell(config, data_dir, folder, pseudo, device="cpu", control=Control(**control))


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "scratch" / "last.pth")["state_dict"]


@pytest.mark.parametrize("name", ONLINE)
def test_resumed_training_equals_the_uninterrupted_one(name, data_dir, tmp_path):
    config = online_config(name)
    whole = train(config, data_dir, tmp_path / "whole")

    stop = threading.Event()
    stopper = {"progress": lambda step, total, **_: stop.set() if step >= 4 else None}
    stop_at = tmp_path / "stopped"
    with pytest.raises(TrainingStopped):
        train(config, data_dir, stop_at, stop=stop, **stopper)
    resumed = train(config, data_dir, stop_at)

    assert {**resumed, "images_per_second": 0} == {**whole, "images_per_second": 0}
    one, other = state(tmp_path / "whole"), state(stop_at)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", ONLINE)
@pytest.mark.parametrize("space", ["binary", "multiclass", "multilabel"])
def test_methods_train_with_masks_in_every_label_space(name, space, tmp_path):
    data_dir = write_arrays(tmp_path / "data", space)
    masking = {"labels": "consensus", "block_input": True, "block_output": True}
    config = online_config(
        name, masking=masking, budget={"kind": "equal", "iterations": 2}, validations=1
    )
    outcome = train(config, data_dir, tmp_path / "out", pseudo_labels(tmp_path / "pseudo"))
    assert np.isfinite(outcome["final_loss"])


@pytest.mark.parametrize("name", ["imas", "fixmatch"])
def test_what_is_kept_is_the_deployed_network_alone(name, data_dir, tmp_path):
    config = online_config(name, keep="last")
    train(config, data_dir, tmp_path)
    write_json(tmp_path / "stage.json", {"config": config.model_dump(mode="json")})
    model = load_model(tmp_path, data_dir, "cpu")
    prefix = "companion." if name == "imas" else "student."
    last = state(tmp_path)
    for key, value in model.state_dict().items():
        assert torch.equal(value, last[prefix + key])


def test_curves_show_each_loss_and_what_the_method_logs(tmp_path):
    data_dir = write_arrays(tmp_path / "data")
    config = online_config("fixmatch", masking={}, budget={"kind": "equal", "iterations": 4})
    outcome = train(config, data_dir, tmp_path / "out", pseudo_labels(tmp_path / "pseudo"))
    rows = [row for row in read_rows(tmp_path / "out" / "scalars.jsonl") if "train/loss" in row]
    assert [row["iter"] for row in rows] == [1, 2, 3, 4]
    assert outcome["final_loss"] == rows[-1]["train/loss"]
    for row in rows:
        assert 0 < row["train/inconsistent"] < 1
        assert 0 <= row["train/confident"] <= 1
        parts = row["train/labelled.loss"] + row["train/unlabelled.loss"]
        assert row["train/loss"] == pytest.approx(parts, rel=1e-5)


def test_grey_images_train_too(tmp_path):
    data_dir = write_arrays(tmp_path / "data", channels=1)
    config = online_config("unimatch", budget={"kind": "equal", "iterations": 2}, validations=1)
    assert np.isfinite(train(config, data_dir, tmp_path / "out")["final_loss"])


def test_poly_schedule_with_momentum_ends_at_no_learning(data_dir, tmp_path):
    fields = {"optimizer": "sgd", "schedule": "poly", "head_factor": 10.0, "learning_rate": 0.001}
    config = online_config("fixmatch", **fields)
    train(config, data_dir, tmp_path)
    groups = load_checkpoint(tmp_path / "scratch" / "last.pth")["optimizer"]["param_groups"]
    assert {group["initial_lr"] for group in groups} == {0.001, 0.01}
    assert all(group["lr"] < 0.2 * group["initial_lr"] for group in groups)


def test_the_last_network_is_kept_if_asked_for(data_dir, tmp_path):
    assert train(online_config("fixmatch", keep="last"), data_dir, tmp_path)["best_iteration"] == 12
