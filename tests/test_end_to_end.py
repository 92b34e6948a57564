"""The commands on small drawn data, with real stages in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

SUITE = """
name: tiny
seeds: [1]
budget: equal
budgets:
  paper: {{epochs: 1}}
  equal: {{iterations: 6}}
training: {{batch: 4, validations: 2, precision: float32{training}}}
data:
  spots:
    folder: ./spots
    size: [32, 32]
    labelled: 0.5
    model: {{width: 0.25, norm_momentum: 0.5}}
  cells:
    synth: {{like: hela, train: 8, val: 4, test: 4}}
    size: [32, 32]
    labelled: 0.5
    model: {{width: 0.25, norm_momentum: 0.5}}
    target_scale: [1, 1, 3]
methods:
  ldt: {{members: 2}}
  me: {{members: 2, students: 2, teachers: 2, generations: 1}}
  im: {{members: 2, students: 2, teachers: 2, generations: 1, image_filter: none}}
"""

DESCRIPTION = """
name: spots
space: binary
classes: [spot]
encoding: index
threshold: 127
fractions: {val: 0.25, test: 0.25}
images: images
masks: masks
"""


def im_bench(*arguments: str | Path, status: int = 0) -> str:
    """Run a command and return all that it says."""
    done = subprocess.run(
        [sys.executable, "-m", "im_bench.cli.app", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "160"},
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def make_suite(folder: Path, training: str = "") -> Path:
    """Write a suite, and data as a user would bring them: images and black and white masks."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / "spots" / name).mkdir(parents=True)
    for i in range(16):
        mask = np.zeros((40, 48), np.uint8)
        cv2.circle(mask, tuple(rng.integers(8, 32, 2).tolist()), 9, 255, -1)
        image = np.repeat((mask // 2 + 50)[..., None], 3, axis=2) + rng.integers(
            0, 40, (40, 48, 3), dtype=np.uint8
        )
        cv2.imwrite(str(folder / "spots" / "images" / f"{i:02d}.png"), image)
        cv2.imwrite(str(folder / "spots" / "masks" / f"{i:02d}.png"), mask)
    (folder / "spots" / "dataset.yaml").write_text(DESCRIPTION)
    suite = folder / "tiny.yaml"
    suite.write_text(SUITE.format(training=training))
    return suite


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A suite that has run to its end: its file, and the results folder."""
    folder = tmp_path_factory.mktemp("suite")
    suite = make_suite(folder)
    said = im_bench("run", "--suite", suite, "--out", folder / "runs", "--no-tracking")
    assert "Inconsistency Masks (IM)" in said
    return suite, folder / "runs"


def test_every_cell_has_scores(finished: tuple[Path, Path], tmp_path: Path) -> None:
    suite, runs = finished
    im_bench(
        "table", "--suite", suite, "--out", runs, "--format", "csv", "--to", tmp_path / "t.csv"
    )
    rows = (tmp_path / "t.csv").read_text().splitlines()
    assert len(rows) > 6
    status = im_bench("status", "--suite", suite, "--out", runs)
    assert "failed" not in status.lower() or "0 failed" in status
    shown = im_bench("show", "spots/0.5/im", "--suite", suite, "--out", runs)
    assert "pixels kept" in shown


def test_me_and_im_share_the_members_of_ldt(finished: tuple[Path, Path]) -> None:
    _, runs = finished
    trainings = [path.parent.name for path in runs.glob("stages/spots/**/best.pth")]
    assert len(trainings) == 2 + 2 + 2


def test_what_only_a_running_training_needs_is_removed(finished: tuple[Path, Path]) -> None:
    _, runs = finished
    assert list(runs.glob("stages/**/best.pth"))
    assert not list(runs.glob("stages/**/last.pth"))


def test_the_same_command_again_runs_nothing(finished: tuple[Path, Path]) -> None:
    suite, runs = finished
    said = im_bench("run", "--suite", suite, "--out", runs, "--no-tracking")
    assert "started" not in said


def test_no_training_reads_test_images(finished: tuple[Path, Path]) -> None:
    _, runs = finished
    for result in runs.glob("stages/**/result.json"):
        content = json.loads(result.read_text())
        assert ("test" in content["outcome"]) == (content["kind"] == "evaluate")


def test_a_cell_predicts_images_of_any_size(finished: tuple[Path, Path], tmp_path: Path) -> None:
    suite, runs = finished
    image = suite.parent / "spots" / "images" / "00.png"
    common = ("predict", "--suite", suite, "--out", runs, "--to", tmp_path / "out")
    im_bench(*common, "--cell", "spots/0.5/im", image)
    shapes = {"mask": (40, 48), "overlay": (40, 48, 3), "inconsistency": (40, 48)}
    for name, shape in shapes.items():
        picture = cv2.imread(str(tmp_path / "out" / f"00-{name}.png"), cv2.IMREAD_UNCHANGED)
        assert picture.shape == shape
        assert set(np.unique(picture)) <= {"mask": {0, 1}, "inconsistency": {0, 255}}.get(
            name, set(range(256))
        )
    missing = im_bench(*common, "--cell", "spots/0.5/im", tmp_path / "none.png", status=2)
    assert "none.png" in missing
    wrong = im_bench(*common, "--cell", "spots/0.5/imm", image, status=2)
    assert "did you mean 'spots/0.5/im'" in wrong


def test_a_damaged_image_costs_its_data_set_only(tmp_path: Path) -> None:
    suite = make_suite(tmp_path)
    damaged = tmp_path / "spots" / "images" / "03.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    said = im_bench(
        "run", "--suite", suite, "--out", tmp_path / "runs", "--methods", "ldt", "--no-tracking",
        status=1,
    )  # fmt: skip
    assert "03.png" in said
    assert list((tmp_path / "runs").glob("stages/cells/**/scores-*/result.json"))
    error = next((tmp_path / "runs").glob("stages/spots/data-*/error-1.json"))
    assert "03.png" in json.loads(error.read_text())["message"]


def test_a_loss_that_is_not_finite_is_said_and_recorded(tmp_path: Path) -> None:
    suite = make_suite(tmp_path, ", learning_rate: 1.0e+30")
    said = im_bench(
        "run", "--suite", suite, "--out", tmp_path / "runs", "--methods", "ldt", "--data", "spots",
        "--no-tracking", status=1,
    )  # fmt: skip
    assert "lower the learning rate" in said
    assert "lower the learning rate" in im_bench(
        "status", "--suite", suite, "--out", tmp_path / "runs", "--methods", "ldt"
    )


def test_all_labelled_leaves_nothing_to_label(tmp_path: Path) -> None:
    suite = make_suite(tmp_path)
    suite.write_text(suite.read_text().replace("labelled: 0.5", "labelled: 1.0"))
    said = im_bench(
        "run", "--suite", suite, "--out", tmp_path / "runs", "--methods", "im", "--data", "spots",
        "--no-tracking", status=2,
    )  # fmt: skip
    assert "no unlabelled images" in said
