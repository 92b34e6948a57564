from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from im_bench.data.check import Problem, check_folder, grouped
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


def disc(folder: Path, index: int) -> np.ndarray:
    """Write an image of a bright disc, and return its mask of 0 and 1."""
    rng = np.random.default_rng(index)
    y, x = np.mgrid[:32, :32]
    mask = ((y - 16) ** 2 + (x - rng.integers(8, 24)) ** 2 < 49).astype(np.uint8)
    save(
        folder / f"{index}.png",
        (rng.integers(20, 60, (32, 32, 3)) + 140 * mask[..., None]).astype(np.uint8),
    )
    return mask


def discs(
    root: Path, mask_of: Callable[[np.ndarray, str, int], Image.Image | None], **fields: object
) -> list[str]:
    """Write discs with masks of some kind; return what the check warns of."""
    index = 0
    for split in ("train", "val", "test"):
        for _ in range(3):
            mask = mask_of(disc(root / "images" / split, index), split, index)
            if mask is not None:
                (root / "masks" / split).mkdir(parents=True, exist_ok=True)
                mask.save(root / "masks" / split / f"{index}.png")
            index += 1
    description = {"name": "discs", "space": "binary", "classes": ["disc"], "encoding": "index"}
    (root / "dataset.yaml").write_text(yaml.safe_dump({**description, **fields}), encoding="utf-8")
    report = check_folder(root, threads=2)
    assert report.ok, report.problems
    return [problem.sentence.removeprefix(f"{root}: ") for problem in report.problems]


def test_discs_are_no_doubt(tmp_path: Path) -> None:
    for value in map(np.uint8, (1, 7, 255)):
        assert discs(tmp_path, lambda mask, *_, v=value: Image.fromarray(mask * v)) == []
    assert discs(tmp_path, lambda mask, *_: Image.fromarray(mask.astype(bool))) == []


@pytest.mark.parametrize("values", [(255, 255), (1, 2), (1, 3), (128, 255)])
def test_masks_without_background_are_told(tmp_path: Path, values: tuple[int, int]) -> None:
    told = discs(tmp_path, lambda mask, *_: Image.fromarray(np.array(values, np.uint8)[mask]))
    assert told[0].startswith(
        "all pixels of the training, validation and test images are disc, none is background"
    )


def test_masks_whose_alpha_channel_is_dropped_are_told(tmp_path: Path) -> None:
    def alpha(mask: np.ndarray, *_: object) -> Image.Image:
        return Image.fromarray(np.dstack([np.full((32, 32, 3), 255, np.uint8), mask * 255]))

    assert "none is background" in discs(tmp_path, alpha, alpha="drop")[0]


def test_grey_borders_are_told_by_values(tmp_path: Path) -> None:
    def smooth(mask: np.ndarray, *_: object) -> Image.Image:
        return (
            Image.fromarray(mask * np.uint8(255))
            .resize((64, 64), Image.Resampling.BICUBIC)
            .resize((32, 32))
        )

    (told,) = discs(tmp_path, smooth)
    assert "grey borders, which all count as disc: give `threshold: 127`" in told
    assert discs(tmp_path, smooth, threshold=127) == []


def test_palettes_that_show_the_background_light_are_told(tmp_path: Path) -> None:
    def paletted(mask: np.ndarray, light: int) -> Image.Image:
        picture = Image.fromarray(1 - mask if light else mask).convert("P")
        picture.putpalette([255, 255, 255, 0, 0, 0] if light else [0, 0, 0, 255, 255, 255])
        return picture

    assert discs(tmp_path, lambda mask, *_: paletted(mask, 0)) == []
    (told,) = discs(tmp_path, lambda mask, *_: paletted(mask, 1))
    assert told.startswith("9 masks have a palette that shows value 0 lighter than disc")
    (told,) = discs(tmp_path, lambda mask, *_: Image.fromarray((1 - mask) * np.uint8(255)))
    assert told.endswith("masks may be inverted")


def test_labelled_images_are_looked_at_alone(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("0\n1\n", encoding="utf-8")
    fields = {
        "space": "multiclass",
        "classes": ["bg", "disc"],
        "labelled": "l.txt",
        "ignore": [255],
    }

    def of(value: int, upto: int) -> Callable[[np.ndarray, str, int], Image.Image]:
        return lambda mask, _, index: Image.fromarray(
            np.full_like(mask, value) if index < upto else mask
        )

    assert discs(tmp_path, of(0, 0), **fields) == []
    (told,) = discs(tmp_path, of(0, 2), **fields)
    assert told.startswith("all pixels of the labelled images are bg, none is disc")
    (told,) = discs(tmp_path, of(255, 2), **fields)
    assert told.startswith("all pixels of the labelled images are ignored")
    (told,) = discs(tmp_path, of(255, 1), **fields)
    assert told == "1 of the labelled images have ignored pixels only (train/0)"


def test_images_of_one_value_are_told_and_not_compared(write_data: WriteData) -> None:
    root = write_data()
    for image in root.glob("images/*/*.png"):
        save(image, np.zeros((6, 8, 3), np.uint8))
    problem = only_problem(root)
    assert problem.kind == "one value"
    assert "all images hold one value only, all of them black" in problem.sentence


def test_equal_problems_are_one_sentence(write_data: WriteData) -> None:
    root = write_data({"train": 9, "val": 1, "test": 1}, space="multiclass", classes=["a", "b"])
    for index in range(8):
        mask = np.zeros((6, 8), np.uint8)
        mask[0, : index + 1] = 3 + index
        save(root / f"masks/train/train-{index}.png", mask)
    report = check_folder(root)
    assert len(report.problems) == 8
    (one,) = grouped(report.problems)
    assert one.sentence.endswith(
        "(and 7 more such files: train-1.png, train-2.png, train-3.png, train-4.png and 3 more)"
    )


def test_nothing_has_no_shares(write_data: WriteData) -> None:
    root = write_data(encoding="palette", palette={"spot": [1, 2, 3]})
    for mask in root.glob("masks/*/*.png"):
        save(mask, np.full((6, 8, 3), 9, np.uint8))
    report = check_folder(root)
    assert report.shares == {}
    assert len(grouped(report.problems)) == 3  # One for each folder.


def test_orientation_tags_of_images_alone_are_told(write_data: WriteData) -> None:
    root = write_data(size=(8, 8))
    exif = Image.Exif()
    exif[0x0112] = 3
    for image in root.glob("images/*/*.png"):
        with Image.open(image) as picture:
            picture.save(image.with_suffix(".jpg"), exif=exif)
        image.unlink()
    problem = only_problem(root)
    assert problem.kind == "orientation"
    assert "8 images have an orientation tag and their masks have none (test/" in problem.sentence
    text = (root / "dataset.yaml").read_text(encoding="utf-8")
    (root / "dataset.yaml").write_text(text + "orientation: ignore\n", encoding="utf-8")
    assert check_folder(root).problems == ()
