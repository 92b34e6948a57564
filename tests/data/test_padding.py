"""Images of several sizes in arrays of one: padded when packed, and nowhere else to be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from im_bench.data.arrays import ArrayDataset, extents, images_per_batch, read_meta
from im_bench.data.folder import DataFolder
from im_bench.data.packing import pack
from im_bench.data.pseudo_labels import write_pseudo_labels
from im_bench.data.semi_arrays import SemiArrayDataset
from im_bench.errors import ImBenchError

from .conftest import save

SIZES = [(9, 6), (7, 10), (5, 5), (10, 10)]
SPACE = 10, 10


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """Images of four sizes; the pixels of each are its number + 1, and so are its labels."""
    for split in ("train", "val", "test"):
        for index, (width, height) in enumerate(SIZES):
            number = np.uint8(index + 1)
            save(tmp_path / f"images/{split}/{index}.png", np.full((height, width, 3), number))
            save(tmp_path / f"masks/{split}/{index}.png", np.full((height, width), number))
    (tmp_path / "names.txt").write_text("1\n")
    description = {
        "name": "sizes",
        "space": "multiclass",
        "classes": [str(number) for number in range(5)],
        "encoding": "index",
        "labelled": "names.txt",
    }
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(description))
    return DataFolder.load(tmp_path)


@pytest.fixture
def arrays(folder: DataFolder, tmp_path: Path) -> Path:
    pack(folder, tmp_path / "arrays", SPACE, fit="pad", labelled="file")
    return tmp_path / "arrays"


def test_padding_is_black_and_ignored(arrays: Path) -> None:
    meta = read_meta(arrays)
    assert meta["size"] == list(SPACE)
    assert meta["sizes"] == {split: [[*size] for size in SIZES] for split in meta["names"]}
    images, labels = (np.load(arrays / f"val_{name}.npy") for name in ("images", "labels"))
    for index, (width, height) in enumerate(SIZES):
        assert (images[index, :height, :width] == index + 1).all()
        assert (labels[index, :height, :width] == index + 1).all()
        assert int((images[index] != 0).sum()) == 3 * width * height
        assert int((labels[index] != 255).sum()) == width * height


def test_larger_images_are_refused(folder: DataFolder, tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match=r"1.png: is 7x10 pixels, which do not fit into .* 10x8"):
        pack(folder, tmp_path / "arrays", (10, 8), fit="pad")


def test_padding_of_several_classes_shows_none(folder: DataFolder, tmp_path: Path) -> None:
    fields = {"space": "multilabel", "classes": ("a", "b", "c"), "encoding": "bits"}
    bits = folder.description.model_copy(update=fields)
    pack(DataFolder(bits, folder.base), tmp_path / "arrays", SPACE, fit="pad")
    assert (np.load(tmp_path / "arrays/val_labels.npy")[2, 5:] == 0).all()


@pytest.mark.parametrize("part", ["val", "test"])
def test_images_are_evaluated_without_padding(arrays: Path, part: Any) -> None:
    dataset = ArrayDataset(arrays, part)
    assert images_per_batch(read_meta(arrays), 32) == 1
    for index, (width, height) in enumerate(SIZES):
        batch = dataset.__getitems__([index])
        assert batch["inputs"].shape == (1, height, width, 3)
        assert batch["data_samples"].shape == (1, height, width)
        assert (batch["inputs"] == index + 1).all()
    assert dataset.__getitems__([0, 1])["inputs"].shape == (2, *SPACE, 3)


def test_trainings_on_whole_images_have_one_size(arrays: Path) -> None:
    assert ArrayDataset(arrays, "labelled").__getitems__([0])["inputs"].shape == (1, *SPACE, 3)


def test_whole_images_are_valid_where_they_are_not_padded(arrays: Path) -> None:
    batch = SemiArrayDataset(arrays).__getitems__(range(3))
    images, valid = batch["inputs"]["unlabelled"], batch["data_samples"]["unlabelled"]["valid"]
    assert torch.equal(valid, images[..., 0] > 0)


def test_crops_are_those_of_images_that_were_never_padded(arrays: Path, tmp_path: Path) -> None:
    """What a crop shows depends on the image's own size, not on that of the arrays."""
    wider = tmp_path / "wider"
    pack(DataFolder.load(tmp_path), wider, (16, 12), fit="pad", labelled="file")
    batches = [
        SemiArrayDataset(each, crop=(8, 6), partner="same", seed=3).__getitems__(range(12))
        for each in (arrays, wider)
    ]
    for branch in ("labelled", "unlabelled", "partner"):
        one, other = (batch["inputs"][branch] for batch in batches)
        assert torch.equal(one, other)
    valid = batches[0]["data_samples"]["unlabelled"]["valid"]
    assert torch.equal(valid, batches[0]["inputs"]["unlabelled"][..., 0] > 0)
    assert not valid.all()


@pytest.mark.parametrize("crop", [None, (8, 6)])
def test_masks_end_where_images_end(arrays: Path, tmp_path: Path, crop: Any) -> None:
    kept = np.array([0, 3])
    inconsistent = np.ones((2, *SPACE), np.bool_)
    labels = np.full(inconsistent.shape, 255, np.uint8)
    (tmp_path / "pseudo").mkdir()
    write_pseudo_labels(tmp_path / "pseudo", kept, labels, inconsistent, blank=False)
    dataset = SemiArrayDataset(arrays, tmp_path / "pseudo", crop=crop, seed=0)
    maps = dataset.__getitems__(range(6))["data_samples"]["unlabelled"]
    assert torch.equal(maps["inconsistent"], maps["valid"])
    assert (maps["consensus"][~maps["valid"]] == 0).all()


def test_arrays_without_padding_are_filled() -> None:
    assert extents({"size": [4, 4]}, "train") is None
