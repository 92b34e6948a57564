from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from im_bench.data.arrays import read_meta
from im_bench.data.predictions import FORMAT, PROBABILITIES, read_predictions
from im_bench.errors import ImBenchError
from im_bench.files import read_json, write_json
from im_bench.runner.job import Job, StageInterrupted
from im_bench.stages import predict

from .conftest import META, FinishedTraining, MakeJob

IMAGES = 5


class Network:
    """Says of an image how bright it is, times a factor of its own."""

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def data_preprocessor(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"inputs": data["inputs"].movedim(-1, 1)}

    def probabilities(self, inputs: Tensor) -> Tensor:
        return inputs[:, :1] / 255 * self._factor


FACTORS = {"bad": 0.25, "good": 0.5, "better": 1.0}


@pytest.fixture
def job(
    finished_training: FinishedTraining, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> Job:
    """The two best of three candidates; batches of two images, and no test images on the disk."""
    scores = {"bad": 0.1, "good": 0.6, "better": 0.7}
    candidates = [finished_training(name, iou=iou) for name, iou in scores.items()]
    monkeypatch.setattr(
        predict, "load_model", lambda folder, data, device: Network(FACTORS[folder.name])
    )
    monkeypatch.setattr(predict, "BATCH", 2)
    names = {**META["names"], "val": [f"v{i}" for i in range(IMAGES)]}
    job = make_job({"count": 2}, {"candidates": candidates}, names=names)
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (IMAGES, 8, 8, 3), dtype=np.uint8)
    np.save(arrays(job) / "val_images.npy", images)
    return job


def arrays(job: Job) -> Path:
    return job.inputs["data"][0] / "arrays"


def test_the_best_come_first_with_what_they_say_of_validation_images(job: Job) -> None:
    outcome = predict.run(job)
    assert outcome == {"networks": ["better", "good"], "images": IMAGES}
    left = read_predictions(job.folder, read_meta(arrays(job)), "val")
    assert isinstance(left, np.memmap)
    assert left.dtype == np.float16
    bright = torch.from_numpy(np.load(arrays(job) / "val_images.npy"))[:, None, ..., 0] / 255
    for said, factor in zip(left, (1.0, 0.5), strict=True):
        assert (said == (bright * factor).half().numpy()).all()


@pytest.mark.parametrize("space", ["binary", "multiclass"])
def test_padding_is_not_predicted(job: Job, space: str) -> None:
    """As in the evaluation, where padded images are read without their padding."""
    sizes = [[8, 8], [5, 8], [8, 3], [1, 1], [7, 6]]
    meta: dict[str, Any] = read_json(arrays(job) / "meta.json")
    write_json(arrays(job) / "meta.json", {**meta, "space": space, "sizes": {"val": sizes}})
    predict.run(job)
    left = read_predictions(job.folder, meta, "val")
    bright = np.load(arrays(job) / "val_images.npy")[..., 0] / 255
    nothing = 1 if space == "multiclass" else 0
    for index, (width, height) in enumerate(sizes):
        expected = np.full((8, 8), nothing, np.float16)
        expected[:height, :width] = bright[index, :height, :width]
        assert left[0, index, 0] == pytest.approx(expected, abs=1e-3)


def test_a_stage_that_is_stopped_leaves_nothing_and_can_be_run_again(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def stop_after_three(self: Job, step: int, total: int, **numbers: float) -> None:
        seen.append(step)
        if len(seen) == 3:
            job.stop.set()

    monkeypatch.setattr(Job, "progress", stop_after_three)
    with pytest.raises(StageInterrupted):
        predict.run(job)
    assert seen == [2, 4, 5]
    assert not list(job.folder.iterdir())
    job.stop.clear()
    predict.run(job)
    assert seen[3:] == [2, 4, 5, 7, 9, 10]
    assert {path.name for path in job.folder.iterdir()} == {PROBABILITIES, FORMAT}


def test_more_networks_than_candidates_are_refused(job: Job) -> None:
    with pytest.raises(ImBenchError, match="4 networks shall predict but there are only 3"):
        predict.run(Job(job.folder, {"count": 4}, job.inputs, job.settings))


@pytest.mark.parametrize("damage", ["absent", "cut", "other"])
def test_damaged_and_foreign_predictions_are_one_sentence(job: Job, damage: str) -> None:
    predict.run(job)
    meta: dict[str, Any] = read_json(arrays(job) / "meta.json")
    file = job.folder / PROBABILITIES
    if damage == "absent":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        meta["names"]["val"].append("one more")
    with pytest.raises(ImBenchError, match="run their stage again"):
        read_predictions(job.folder, meta, "val")
