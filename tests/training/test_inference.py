from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from im_bench.errors import ImBenchError
from im_bench.models.checkpoints import load_checkpoint, save_checkpoint
from im_bench.training.cell import train_cell
from im_bench.training.inference import load_model, predict_probabilities

from .conftest import train_config, write_arrays


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A train stage that is done, beside its data stage."""
    stages = tmp_path_factory.mktemp("stages")
    data_dir = write_arrays(stages / "data")
    folder = stages / "ldt-87654321"
    folder.mkdir()
    config = train_config(part="all", budget={"kind": "equal", "iterations": 40})
    train_cell(config, data_dir, folder, device="cpu")
    (folder / "stage.json").write_text(
        json.dumps({"kind": "train", "config": config.model_dump(mode="json")})
    )
    return folder


@pytest.fixture(scope="module")
def arrays(stage: Path) -> Path:
    """The packed arrays that the stage was trained on."""
    return stage.parent / "data" / "arrays"


def test_a_loaded_model_scores_what_its_training_said(stage: Path, arrays: Path) -> None:
    model = load_model(stage, arrays, "cpu")
    assert not model.training
    images = np.load(arrays / "val_images.npy", mmap_mode="r")
    labels = torch.from_numpy(np.load(arrays / "val_labels.npy"))
    predicted = torch.cat(
        [model.space.discretise(each) for each in predict_probabilities(model, images, 4)]
    )
    both = ((predicted == 1) & (labels == 1)).sum((1, 2))
    either = ((predicted == 1) | (labels == 1)).sum((1, 2))
    iou = (both / (either + 1e-7)).mean().item()
    said = load_checkpoint(stage / "best.pth")["meta"]["metrics"]["iou"]
    assert iou == pytest.approx(said, abs=1e-6)


def test_batches_do_not_matter(stage: Path, arrays: Path) -> None:
    model = load_model(stage, arrays, "cpu")
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    by_two = list(predict_probabilities(model, images, 2))
    assert [len(each) for each in by_two] == [2, 2, 1]
    assert by_two[0].shape == (2, 1, 16, 16)
    assert by_two[0].dtype == torch.float32
    torch.testing.assert_close(torch.cat(by_two), *predict_probabilities(model, images, 5))


def test_no_image_gives_no_batch(stage: Path, arrays: Path) -> None:
    model = load_model(stage, arrays, "cpu")
    assert list(predict_probabilities(model, np.zeros((0, 16, 16, 3), np.uint8), 2)) == []


def test_a_folder_that_is_no_stage_is_named(arrays: Path, tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match="is no train stage"):
        load_model(tmp_path, arrays, "cpu")


def test_weights_of_another_network_are_named(stage: Path, arrays: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    content = json.loads((stage / "stage.json").read_text())
    content["config"]["model"]["width"] = 0.5
    (folder / "stage.json").write_text(json.dumps(content))
    save_checkpoint(folder / "best.pth", load_checkpoint(stage / "best.pth"))
    with pytest.raises(ImBenchError, match="does not fit the network"):
        load_model(folder, arrays, "cpu")
