from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from im_bench.data.layout import Layout
from im_bench.errors import ImBenchError

from .conftest import WriteData, save


def doubts(root: Path) -> list[tuple[str, bool]]:
    return [(one.sentence, one.grave) for one in Layout.load(root).doubts()]


def names(root: Path, split: str = "train") -> list[str]:
    return [item.name for item in Layout.load(root).items(split)]  # type: ignore[arg-type]


def test_a_folder_of_pairs_leaves_nothing_out(write_data: WriteData) -> None:
    root = write_data()
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._train-0.png"):
        (root / "images/train" / name).write_bytes(b"x")
    (root / "images/train/.cache").mkdir()
    (root / "images/train/empty").mkdir()
    assert doubts(root) == []


def test_files_in_sub_folders_are_counted_and_named(write_data: WriteData) -> None:
    root = write_data()
    for kind in ("images", "masks"):
        for index, city in ((1, "ulm"), (2, "bonn")):
            folder = root / kind / "train" / city
            folder.mkdir()
            (root / kind / "train" / f"train-{index}.png").rename(folder / f"train-{index}.png")
            (folder / ".DS_Store").touch()
    assert names(root) == ["train-0", "train-3"]
    told = doubts(root)
    assert all(grave for _, grave in told)
    assert [sentence.partition(": move")[0] for sentence, _ in told] == [
        f"{root}/{kind}/train: 2 files are not read, in sub-folders (bonn, ulm)"
        for kind in ("images", "masks")
    ]


@pytest.mark.parametrize("name", ["a.npy", "a.nii.gz", "a.DCM", "a.heic", "a", "a.png.bak"])
def test_files_of_other_formats_are_counted_and_named(write_data: WriteData, name: str) -> None:
    root = write_data()
    (root / "images/train" / name).write_bytes(b"x")
    ((sentence, grave),) = doubts(root)
    assert f"{root}/images/train: 1 file is not read, of other formats ({name})" in sentence
    assert grave


def test_notes_beside_images_are_told_less_gravely(write_data: WriteData) -> None:
    root = write_data()
    for index in range(4):
        (root / f"images/train/train-{index}.json").write_text("{}", encoding="utf-8")
    ((sentence, grave),) = doubts(root)
    assert "4 files are not read, beside the images (train-0.json, " in sentence
    assert not grave


def test_folders_may_lie_in_each_other(write_data: WriteData) -> None:
    root = write_data(images=".", masks="masks", fractions={"val": 0.2, "test": 0.2}, labelled="l")
    for kind in ("images", "masks"):
        for path in sorted((root / kind).glob("*/*.png")):
            path.rename((root if kind == "images" else root / kind) / path.name)
        for folder in (root / kind).glob("*"):
            if folder.is_dir():
                folder.rmdir()
    (root / "images").rmdir()
    (root / "l").write_text("train-0\n", encoding="utf-8")
    assert doubts(root) == []


@pytest.mark.parametrize("suffix", [".ppm", ".PGM", ".gif", ".jp2", ".jfif", ".PNG", ".Tif"])
def test_further_formats_are_read(write_data: WriteData, suffix: str) -> None:
    root = write_data()
    image = root / "images/train/train-0.png"
    with Image.open(image) as picture:
        picture.convert("L").save(image.with_suffix(suffix))
    image.unlink()
    assert names(root)[0] == "train-0"
    assert doubts(root) == []


def test_names_are_one_in_whatever_unicode_form(write_data: WriteData) -> None:
    root = write_data(labelled="l.txt")
    composed, decomposed = (unicodedata.normalize(form, "bäume") for form in ("NFC", "NFD"))
    (root / "images/train/train-0.png").rename(root / f"images/train/{decomposed}.png")
    (root / "masks/train/train-0.png").rename(root / f"masks/train/{composed}.png")
    (root / "l.txt").write_text(f"{decomposed}\n", encoding="utf-8")
    assert composed in names(root)
    assert doubts(root) == []
    assert Layout.load(root).labelled_names() == [composed]
    shutil.copy(root / f"images/train/{decomposed}.png", root / f"images/train/{composed}.png")
    with pytest.raises(ImBenchError, match="another file has the same name"):
        names(root)


def test_training_images_may_lack_masks(write_data: WriteData) -> None:
    root = write_data()
    (root / "masks/train/train-2.png").unlink()
    assert names(root) == ["train-0", "train-1", "train-2", "train-3"]
    assert [item.name for item in Layout.load(root).unmasked] == ["train-2"]
    ((sentence, grave),) = doubts(root)
    assert sentence.endswith("1 training image has no mask and counts as unlabelled: train-2.png")
    assert grave


def test_other_images_may_not_lack_masks(write_data: WriteData) -> None:
    root = write_data()
    (root / "masks/test/test-1.png").unlink()
    with pytest.raises(ImBenchError, match=r"images/test: no mask for test-1\.png"):
        names(root)


def test_names_that_do_not_fit_are_no_unlabelled_images(write_data: WriteData) -> None:
    root = write_data(labelled=None)
    mask = root / "masks/train/train-2.png"
    mask.rename(mask.with_name("train_2.png"))
    with pytest.raises(ImBenchError, match=r"no mask for train-2\.png, while train_2\.png has no"):
        names(root)
    for path in (root / "masks/train").iterdir():
        path.unlink()
    with pytest.raises(ImBenchError, match=r"no mask for train-0\.png, train-1\.png"):
        names(root)


def test_an_image_with_some_of_its_masks_is_told(write_data: WriteData) -> None:
    fields = {"space": "multilabel", "classes": ["a", "b"], "encoding": "files"}
    root = write_data(masks="masks/{split}/{class}", **fields)
    for mask in sorted(root.glob("masks/*/*.png")):
        for name in "ab":
            save(mask.parent / name / mask.name, np.zeros((6, 8), np.uint8))
        mask.unlink()
    (root / "masks/train/a/train-0.png").unlink()
    with pytest.raises(ImBenchError, match=r"no mask for train-0\.png"):
        names(root)
    (root / "masks/train/b/train-0.png").unlink()
    assert [item.name for item in Layout.load(root).unmasked] == ["train-0"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbftrain-1\r\n\r\ntrain-3\r\n\r\n",
        "train-1\r\ntrain-3\r\n".encode("utf-16"),
        b"train-1.png\ntrain-3.png\n",
        b"# by hand\n  train-1 \ntrain-3.png",
    ],
)
def test_lists_come_as_people_write_them(write_data: WriteData, content: bytes) -> None:
    root = write_data(labelled="l.txt")
    (root / "l.txt").write_bytes(content)
    assert Layout.load(root).labelled_names() == ["train-1", "train-3"]


def test_wrong_names_in_lists_are_told(write_data: WriteData) -> None:
    root = write_data(labelled="l.txt")
    (root / "masks/train/train-2.png").unlink()
    for content, expected in (
        ("train-1\ntrain-1.png\n", "train-1 stand twice"),
        ("train-1\ntrain-2\n", "train-2 has no mask"),
        ("train/train-1\n", "train/train-1 is not among the training images"),
    ):
        (root / "l.txt").write_text(content, encoding="utf-8")
        with pytest.raises(ImBenchError, match=expected):
            Layout.load(root).labelled_names()
