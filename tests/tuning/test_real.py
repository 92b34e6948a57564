"""A search with real trainings, on a data set whose validation images are its test images."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from im_bench.tuning.storage import open_storage
from im_bench.tuning.study import load_study, records_of

SUITE = """
name: real
seeds: [1]
budget: equal
budgets: {equal: {iterations: 12}}
training: {batch: 2, validations: 3}
data:
  spots: {folder: spots, size: [32, 32], labelled: 0.5, model: {width: 0.125}}
methods:
  fixmatch: {}
"""
DESCRIPTION = """
name: spots
space: binary
classes: [spot]
encoding: index
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A suite, and a data set whose validation and test folders hold the same images."""
    rng = np.random.default_rng(0)
    for split, count in {"train": 12, "val": 3, "test": 3}.items():
        for kind in ("images", "masks"):
            (tmp_path / "spots" / kind / split).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            mask = np.zeros((32, 32), np.uint8)
            mask[8:20, 8:20] = 1
            image[mask == 1] //= 4
            if split == "test":
                val = tmp_path / "spots" / "images" / "val" / f"{index}.png"
                image = np.asarray(Image.open(val))
            Image.fromarray(image).save(tmp_path / "spots" / "images" / split / f"{index}.png")
            Image.fromarray(mask).save(tmp_path / "spots" / "masks" / split / f"{index}.png")
    (tmp_path / "spots" / "dataset.yaml").write_text(DESCRIPTION)
    (tmp_path / "real.yaml").write_text(SUITE.replace("folder: spots", f"folder: {tmp_path}/spots"))
    return tmp_path


def tune(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "im_bench.cli.app", "tune", "--suite", str(folder / "real.yaml"),
            "--method", "fixmatch", "--trials", "2", "--pruner", "none", "--study", "s",
            "--out", str(folder / "runs"), "--device", "cpu", "--parallel", "1", *options,
        ],
        env={**os.environ, "WANDB_MODE": "disabled"},
        capture_output=True,
        text=True,
    )  # fmt: skip


def test_values_are_chosen_on_held_out_images_where_validation_is_test(folder: Path) -> None:
    refused = tune(folder)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert (
        refused.stderr.strip()
        .splitlines()[-1]
        .startswith("error: 3 of the 3 validation images of data set 'spots' are also test images")
    )
    done = tune(folder, "--hold-out", "0.4")
    assert done.returncode == 0, done.stdout + done.stderr
    journal = str(folder / "runs" / "tuning" / "studies.journal")
    records = records_of(load_study(open_storage(journal), "s"))
    assert [record.state.value for record in records] == ["complete"] * 2
    assert records[0].params["threshold"] == 0.95
    results = [path.read_text() for path in folder.glob("runs/stages/**/scores-*/result.json")]
    assert len(results) == 2
    assert all('"test"' not in text for text in results)
    for record in records:
        assert any(f'"iou": {record.values[0]!r}' in text for text in results)
