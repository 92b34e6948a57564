from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from im_bench.data.fingerprint import fingerprint
from im_bench.errors import ImBenchError
from im_bench.runner.job import SCRATCH, Job
from im_bench.stages import data

DESCRIPTION = """
name: spots
space: binary
classes: [spot]
encoding: index
"""


@pytest.fixture
def description(tmp_path: Path) -> Path:
    for split in ("train", "val", "test"):
        for kind in ("images", "masks"):
            (tmp_path / kind / split).mkdir(parents=True)
            for index in range(4):
                pixels = np.full((16, 16), index % 2, np.uint8)
                cv2.imwrite(str(tmp_path / kind / split / f"{split}-{index}.png"), pixels)
    path = tmp_path / "dataset.yaml"
    path.write_text(DESCRIPTION)
    return path


def job_for(description: Path, source: dict[str, object]) -> Job:
    folder = description.parent / "stage"
    folder.mkdir(exist_ok=True)
    config = {"source": source, "size": None, "labelled": 0.5, "split_seed": 1, "limit": {}}
    return Job(folder, config, paths={"description": str(description)})


def test_a_data_set_is_packed_as_it_was_planned(description: Path) -> None:
    planned = fingerprint(description)
    outcome = data.run(job_for(description, {"fingerprint": planned}))
    assert outcome["images"] == {"train": 4, "val": 4, "test": 4}
    assert outcome["labelled"] == 2
    assert outcome["fingerprint"] == planned
    assert np.load(description.parent / "stage/arrays/train_images.npy").shape == (4, 16, 16, 3)


def test_a_data_set_that_changed_after_the_plan_is_refused(description: Path) -> None:
    planned = fingerprint(description)
    mask = description.parent / "masks/train/train-0.png"
    cv2.imwrite(str(mask), np.ones((16, 16), np.uint8))
    with pytest.raises(ImBenchError, match=r"'spots' .* has changed since it was planned"):
        data.run(job_for(description, {"fingerprint": planned}))
    assert not (description.parent / "stage" / "arrays").exists()


def test_drawn_data_can_be_drawn_again(description: Path) -> None:
    synth = {"like": "isic2018", "train": 2, "val": 1, "test": 1, "seed": 0}
    job = job_for(description, {"synth": synth, "version": 1})
    drawn = Job(job.folder, {**job.config, "size": [32, 32]})
    first = data.run(drawn)
    assert first["images"] == {"train": 2, "val": 1, "test": 1}
    before = (job.folder / "arrays" / "train_labels.npy").read_bytes()
    assert data.run(drawn) == first  # what a kill before the result leaves is in nobody's way
    assert (job.folder / "arrays" / "train_labels.npy").read_bytes() == before
    left = {path.name for path in job.folder.iterdir()} - {"progress.json"}
    assert left == {"arrays", SCRATCH}
