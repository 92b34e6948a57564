from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from im_bench.data.check import Problem, check_folder
from im_bench.errors import ImBenchError

from .conftest import WriteData, save


def only_problem(root: Path) -> Problem:
    problems = check_folder(root, threads=1).problems
    assert len(problems) == 1, problems
    assert "\n" not in problems[0].sentence
    return problems[0]


def test_a_good_data_set_has_no_problems(write_data: WriteData) -> None:
    report = check_folder(write_data(size=(8, 6)))
    assert report.problems == ()
    assert report.ok
    assert report.counts == {"train": 4, "val": 2, "test": 2}
    assert report.sizes == {(8, 6): 8}


def test_shares_are_of_all_pixels(write_data: WriteData) -> None:
    root = write_data({"train": 2, "val": 1, "test": 1}, size=(4, 2), ignore=[7])
    for mask in root.glob("masks/*/*.png"):
        save(mask, np.array([[1, 0, 0, 0], [0, 0, 0, 7]], dtype=np.uint8))
    shares = check_folder(root).shares
    assert shares == {"background": 0.75, "spot": 0.125, "ignored": 0.125}


def test_shares_of_overlapping_classes_overlap(write_data: WriteData) -> None:
    root = write_data(space="multilabel", classes=["a", "b", "c"], encoding="bits")
    for mask in root.glob("masks/*/*.png"):
        save(mask, np.array([[0b11] * 8] * 3 + [[0b10] * 8] * 3, dtype=np.uint8))
    report = check_folder(root)
    assert report.shares == {"a": 0.5, "b": 1.0, "c": 0.0}
    told = [problem.sentence.removeprefix(f"{root}: ") for problem in report.problems]
    assert told == [
        "all pixels of the training, validation and test images are b: look at the masks, and at "
        "how they are read",
        "no pixel of the training, validation and test images is c",
    ]
    assert report.ok


def test_missing_partners_are_found_both_ways(write_data: WriteData) -> None:
    root = write_data()
    (root / "masks/train/train-0.png").unlink()
    (root / "images/val/val-0.png").unlink()
    problems = check_folder(root).problems
    assert {(problem.kind, problem.where.name) for problem in problems} == {
        ("missing mask", "train-0.png"),
        ("missing image", "val-0.png"),
    }


def test_a_name_that_stands_for_two_files_is_found(write_data: WriteData) -> None:
    root = write_data()
    shutil.copy(root / "images/train/train-0.png", root / "images/train/train-0.jpg")
    assert only_problem(root).kind == "same name"


def test_cut_off_files_are_found(write_data: WriteData) -> None:
    root = write_data()
    for folder in ("images", "masks"):
        file = root / folder / "train/train-1.png"
        file.write_bytes(file.read_bytes()[:50])
    problems = check_folder(root).problems
    assert [problem.kind for problem in problems] == ["unreadable", "unreadable"]
    assert {problem.where.parent.parent.name for problem in problems} == {"images", "masks"}


def test_other_sizes_are_found(write_data: WriteData) -> None:
    root = write_data(size=(8, 6))
    save(root / "masks/train/train-0.png", np.eye(7, dtype=np.uint8))
    problem = only_problem(root)
    assert problem.kind == "other size"
    assert "7x7" in problem.sentence
    assert "8x6" in problem.sentence


def test_wrong_labels_are_found(write_data: WriteData) -> None:
    root = write_data(space="multiclass", classes=["a", "b"])
    save(root / "masks/val/val-0.png", np.full((6, 8), 2, dtype=np.uint8))
    problem = only_problem(root)
    assert problem.kind == "wrong label"
    assert "the value 2 (48 pixels), but the labels are 0 to 1" in problem.sentence


def test_the_same_picture_in_two_splits_is_found(write_data: WriteData) -> None:
    root = write_data()
    # Other bytes, same picture.
    Image.open(root / "images/train/train-2.png").save(root / "images/test/test-1.bmp")
    (root / "images/test/test-1.png").unlink()
    problem = only_problem(root)
    assert problem.kind == "two splits"
    assert problem.where.name == "test-1.bmp"
    assert "train-2.png in train" in problem.sentence


def test_the_same_picture_twice_in_a_split_is_allowed(write_data: WriteData) -> None:
    root = write_data()
    shutil.copy(root / "images/train/train-0.png", root / "images/train/train-1.png")
    assert check_folder(root).problems == ()


def test_an_empty_split_is_found(write_data: WriteData) -> None:
    root = write_data()
    for file in root.glob("*/test/*.png"):
        file.unlink()
    problem = only_problem(root)
    assert problem.kind == "empty split"
    assert problem.sentence.endswith("test has no images")


@pytest.mark.parametrize("name", ["nobody", "val-0"])
def test_labelled_names_outside_train_are_found(write_data: WriteData, name: str) -> None:
    root = write_data(labelled="labelled.txt")
    (root / "labelled.txt").write_text(f"train-0\n{name}\n", encoding="utf-8")
    problem = only_problem(root)
    assert problem.kind == "labelled"
    assert name in problem.sentence


def test_jpeg_masks_without_a_threshold_are_a_warning(write_data: WriteData) -> None:
    root = write_data()
    for mask in root.glob("masks/*/*.png"):
        with Image.open(mask) as image:
            image.point(lambda value: 255 * value).save(mask.with_suffix(".jpg"))
        mask.unlink()
    problem = only_problem(root)
    assert problem.kind == "between levels"
    assert problem.warning
    text = (root / "dataset.yaml").read_text(encoding="utf-8")
    (root / "dataset.yaml").write_text(text + "threshold: 127\n", encoding="utf-8")
    assert check_folder(root).problems == ()


def test_a_wrong_layout_is_told(write_data: WriteData) -> None:
    root = write_data()
    shutil.rmtree(root / "images/val")
    report = check_folder(root)
    assert [problem.kind for problem in report.problems] == ["layout"]
    assert not report.ok


def test_a_wrong_description_is_an_error(write_data: WriteData) -> None:
    with pytest.raises(ImBenchError, match=r"dataset\.yaml:\d+: metric"):
        check_folder(write_data(metric="miou"))
