"""The example of a metric in a package of its own, installed as its README says."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from .conftest import EXAMPLES

DRAW = ("data", "synth", "isic2018", "--root", "data", "--train", "16", "--val", "4", "--test", "4")


@pytest.fixture
def place(tmp_path):
    """Lay the description beside the suite, where it finds the data as in the repository."""
    description = (EXAMPLES / "boundary_metric" / "dataset.yaml").read_text()
    (tmp_path / "dataset.yaml").write_text(description.replace("../../data", "data"))
    return tmp_path


def test_example_heads_the_table_and_chooses_checkpoints(install, shorter, place):
    suite = shorter("boundary_metric", "boundaries.yaml", "iterations: 150")
    im_bench = install("boundary_metric")
    im_bench(*DRAW)
    said = im_bench("run", "--suite", str(suite), "--no-tracking")
    assert "Boundary IoU % ↑" in said
    assert "Boundary IoU (outlines) is mean over images of the IoU of bands" in " ".join(
        said.split()
    )
    results = [json.loads(path.read_text()) for path in place.glob("runs/**/result.json")]
    scores = [one for one in map(find_test, results) if one]
    assert scores
    assert all(0 <= one["boundary_iou"] <= 1 and "iou" in one for one in scores)


def find_test(result):
    """Return the test scores that a result holds somewhere."""
    if isinstance(result, dict):
        if isinstance(result.get("test"), dict) and "iou" in result["test"]:
            return result["test"]
        return next(filter(None, map(find_test, result.values())), None)
    if isinstance(result, list):
        return next(filter(None, map(find_test, result)), None)
    return None


def test_its_code_is_part_of_the_keys(install, shorter, place):
    suite = str(shorter("boundary_metric", "boundaries.yaml", "iterations: 150"))
    im_bench = install("boundary_metric")
    im_bench(*DRAW)
    plan = ("run", "--suite", suite, "--engine", "print")  # folders are named by keys
    before = im_bench(*plan)
    assert im_bench(*plan) == before
    module = place / "site" / "boundary_metric.py"
    module.write_text(module.read_text().replace("0.02", "0.05"))
    assert im_bench(*plan) != before


def test_without_the_package_the_sentence_says_what_to_do(install, place):
    im_bench = install("echo_engine")
    im_bench(*DRAW)
    said = " ".join(im_bench("data", "check", "dataset.yaml", code=2).split())
    assert "there is no metric boundary_iou: use iou or iou_dataset, or install the" in said


def test_values(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES / "boundary_metric")
    from boundary_metric import BoundaryIoU

    truth = torch.zeros(3, 40, 40, dtype=torch.uint8)
    truth[0, 10:30, 10:30] = 1
    shifted = truth.roll(1, 2)
    same = BoundaryIoU().measure(truth, truth, "binary", ["x"])
    moved = BoundaryIoU().measure(shifted, truth, "binary", ["x"])
    assert same[0] == 1
    assert same[1].isnan()  # no outline to be found or missed
    # A band of 1 pixel: of two squares' outlines, 76 pixels each, two rows of 19 are common.
    assert moved[0] == pytest.approx(38 / (76 + 76 - 38))
    assert BoundaryIoU().summarise(same.double()) == 1


def test_a_results_folder_is_read_without_the_package(install, shorter, place):
    suite = str(shorter("boundary_metric", "boundaries.yaml", "iterations: 150"))
    im_bench = install("boundary_metric")
    im_bench(*DRAW)
    im_bench("run", "--suite", suite, "--no-tracking", "--no-table", "--methods", "ldt")
    shutil.rmtree(place / "site")
    said = " ".join(im_bench("table", "--suite", suite).split())
    assert "there is no metric boundary_iou" in said
