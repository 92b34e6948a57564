from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

from im_bench.data.folder import DataFolder
from im_bench.data.image_files import WrongLabelError
from im_bench.errors import ImBenchError

from .conftest import WriteData, save


def names(folder: DataFolder, split: str) -> list[str]:
    return [item.name for item in folder.items(split)]


def test_each_split_has_its_folder(write_data: WriteData) -> None:
    folder = DataFolder.load(write_data())
    assert names(folder, "train") == ["train-0", "train-1", "train-2", "train-3"]
    assert names(folder, "test") == ["test-0", "test-1"]


def test_splits_may_have_other_names(write_data: WriteData) -> None:
    fields = {"splits": {"train": "training", "val": "dev", "test": "test"}}
    folder = DataFolder.load(write_data({"training": 2, "dev": 1, "test": 1}, **fields))
    assert names(folder, "train") == ["training-0", "training-1"]
    assert names(folder, "val") == ["dev-0"]


def test_one_folder_is_divided(write_data: WriteData) -> None:
    fields = {"images": "images/all", "masks": "masks/all", "fractions": {"val": 0.2, "test": 0.1}}
    folder = DataFolder.load(write_data({"all": 10}, **fields))
    parts = {split: names(folder, split) for split in ("train", "val", "test")}
    assert [len(part) for part in parts.values()] == [7, 2, 1]
    assert sorted(itertools.chain(*parts.values())) == [f"all-{index}" for index in range(10)]


def test_validation_is_drawn_from_train_where_it_has_no_folder(write_data: WriteData) -> None:
    fields = {"splits": {"train": "train", "test": "test"}, "fractions": {"val": 0.25}}
    folder = DataFolder.load(write_data({"train": 8, "test": 3}, **fields))
    train, val = names(folder, "train"), names(folder, "val")
    assert (len(train), len(val)) == (6, 2)
    assert sorted(train + val) == [f"train-{index}" for index in range(8)]
    assert len(names(folder, "test")) == 3


def test_a_pair_is_read_with_its_channels(write_data: WriteData) -> None:
    folder = DataFolder.load(write_data(size=(8, 6), channels="grey"))
    image, label = folder.read_pair(folder.items("train")[0])
    assert image.shape == (6, 8, 1)
    assert label.shape == (6, 8)
    assert set(np.unique(label)) == {0, 1}


def test_extensions_of_images_and_masks_are_independent(write_data: WriteData) -> None:
    root = write_data()
    image = root / "images/train/train-0.png"
    save(image.with_suffix(".JPG"), np.zeros((6, 8, 3), dtype=np.uint8))
    image.unlink()
    (root / "images/train/notes.txt").touch()
    (root / "images/train/.hidden.png").touch()
    folder = DataFolder.load(root)
    assert folder.items("train")[0].image.name == "train-0.JPG"
    assert len(folder.items("train")) == 4


def test_masks_may_lie_beside_their_images(write_data: WriteData) -> None:
    root = write_data(masks="images/{split}", mask_suffix="_mask")
    for mask in sorted(root.glob("masks/*/*.png")):
        mask.rename(root / "images" / mask.parent.name / f"{mask.stem}_mask.png")
    folder = DataFolder.load(root)
    assert names(folder, "val") == ["val-0", "val-1"]
    assert folder.items("val")[0].masks[0].name == "val-0_mask.png"
    assert not folder.listings["val"].masks_without_image


def test_images_and_masks_of_one_folder_need_a_suffix(write_data: WriteData) -> None:
    with pytest.raises(ImBenchError, match="both the images and the masks: give a mask_suffix"):
        DataFolder.load(write_data(masks="images/{split}")).items("train")


@pytest.mark.parametrize(
    ("masks", "suffix"), [("masks/{split}/{class}", ""), ("masks/{split}", "_{class}")]
)
def test_there_may_be_one_mask_per_class(write_data: WriteData, masks: str, suffix: str) -> None:
    fields = {"space": "multilabel", "classes": ["a", "b"], "encoding": "files"}
    root = write_data(masks=masks, mask_suffix=suffix, **fields)
    for mask in sorted(root.glob("masks/*/*.png")):
        for index, name in enumerate("ab"):
            place = masks.format(**{"split": mask.parent.name, "class": name})
            file = mask.stem + suffix.format(**{"class": name}) + ".png"
            save(root / place / file, np.full((6, 8), index, dtype=np.uint8))
        mask.unlink()
    folder = DataFolder.load(root)
    item = folder.items("train")[0]
    assert len(item.masks) == 2
    assert (folder.read_label(item) == 0b10).all()


def test_images_without_masks_are_listed(write_data: WriteData) -> None:
    root = write_data()
    (root / "masks/val/val-1.png").unlink()
    with pytest.raises(ImBenchError, match=r"images/val: no mask for val-1\.png"):
        DataFolder.load(root).items("train")


def test_two_files_of_one_name_are_told(write_data: WriteData) -> None:
    root = write_data()
    shutil.copy(root / "images/train/train-0.png", root / "images/train/train-0.jpg")
    with pytest.raises(ImBenchError, match=r"same name as .*train-0\.png: rename"):
        DataFolder.load(root).items("train")


def test_missing_folders_and_empty_splits_are_told(write_data: WriteData) -> None:
    root = write_data()
    for file in root.glob("*/val/*"):
        file.unlink()
    with pytest.raises(ImBenchError, match="spots: val has no images"):
        DataFolder.load(root).items("val")
    shutil.rmtree(root / "masks/val")
    with pytest.raises(ImBenchError, match=r"masks/val: cannot be listed: No such file"):
        DataFolder.load(root).items("train")


def test_a_mask_of_another_size_is_told(write_data: WriteData) -> None:
    root = write_data(size=(8, 6))
    save(root / "masks/train/train-0.png", np.zeros((6, 7), dtype=np.uint8))
    folder = DataFolder.load(root)
    with pytest.raises(WrongLabelError, match=r"train-0\.png: is 7x6 pixels but .* is 8x6"):
        folder.read_pair(folder.items("train")[0])


def test_labelled_names_are_training_images(write_data: WriteData) -> None:
    root = write_data(labelled="labelled.txt")
    (root / "labelled.txt").write_text("train-1\n", encoding="utf-8")
    assert DataFolder.load(root).labelled_names() == ["train-1"]
    (root / "labelled.txt").write_text("train-1\nval-0\n", encoding="utf-8")
    with pytest.raises(ImBenchError, match=r"labelled\.txt: val-0 is not among the training"):
        DataFolder.load(root).labelled_names()


REAL = {
    "kvasir": ((800, 100, 100), {0, 1}),
    "nuclei": ((429, 53, 53), {0, 1}),
    "camvid": ((123, 34, 47), {*range(1, 12), 255}),
    "epfl": ((54, 9, 5), set(range(64))),
}


@pytest.mark.parametrize("name", REAL)
def test_the_real_data_sets_are_described(
    name: str, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IM_BENCH_SHARED", str(shared))
    descriptions = Path(__file__).parents[2] / "benchmarks" / "data"
    folder = DataFolder.load(descriptions / f"{name}.yaml")
    counts, values = REAL[name]
    assert tuple(len(folder.items(split)) for split in ("train", "val", "test")) == counts
    for item in folder.items("val")[:4]:
        assert set(np.unique(folder.read_pair(item)[1])) <= values
