from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im_bench.data.arrays import ArrayDataset, has_mask, read_meta
from im_bench.data.fingerprint import fingerprint
from im_bench.data.folder import DataFolder
from im_bench.data.packing import _held_out, pack
from im_bench.data.splits import choose_labelled
from im_bench.data.survey import Survey
from im_bench.errors import ImBenchError

from .conftest import WriteData, save


def load(out: Path, split: str, kind: str) -> np.ndarray:
    return np.load(out / f"{split}_{kind}.npy", mmap_mode="r")


def test_without_a_size_pixels_are_kept(write_data: WriteData, tmp_path: Path) -> None:
    folder = DataFolder.load(write_data(size=(8, 6)))
    out = tmp_path / "arrays"
    meta = pack(folder, out, threads=2)
    for split in ("train", "val", "test"):
        images, labels = load(out, split, "images"), load(out, split, "labels")
        assert images.dtype == labels.dtype == np.uint8
        for index, item in enumerate(folder.items(split)):
            image, label = folder.read_pair(item)
            assert (images[index] == image).all()
            assert (labels[index] == label).all()
    assert meta["size"] == [8, 6]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_meta_tells_what_the_arrays_are(write_data: WriteData, tmp_path: Path) -> None:
    cells = {"alive": 0, "dead": 1, "position": 2}
    root = write_data(
        space="multilabel", classes=["a", "d", "p"], encoding="bits", channels="grey",
        cells=cells, metric="mcce",
    )  # fmt: skip
    out = tmp_path / "arrays"
    meta = pack(DataFolder.load(root), out, (4, 2), labelled=0.5, seed=3)
    assert meta == read_meta(out)
    labelled = meta.pop("labelled")
    assert len(labelled) == 2
    assert set(labelled) < set(meta["names"]["train"])
    assert meta == {
        "name": "spots",
        "space": "multilabel",
        "classes": ["a", "d", "p"],
        "outputs": 3,
        "channels": 1,
        "size": [4, 2],
        "fit": "resize",
        "cells": cells,
        "metric": "mcce",
        "names": {
            "train": ["train-0", "train-1", "train-2", "train-3"],
            "val": ["val-0", "val-1"],
            "test": ["test-0", "test-1"],
        },
        "reading": {"scale": None, "page": None, "orientation": "apply", "alpha": "refuse"},
        "fingerprint": fingerprint(root),
    }
    assert load(out, "train", "images").shape == (4, 2, 4, 1)
    assert load(out, "train", "labels").shape == (4, 2, 4)


def test_reserved_void_stands_first(write_data: WriteData, tmp_path: Path) -> None:
    root = write_data(space="multiclass", classes=["a", "b"], reserve_zero=True)
    meta = pack(DataFolder.load(root), tmp_path / "arrays")
    assert (meta["classes"], meta["outputs"]) == (["void", "a", "b"], 3)
    assert set(np.unique(load(tmp_path / "arrays", "train", "labels"))) == {1, 2}


def test_images_are_averaged_and_labels_are_not(write_data: WriteData, tmp_path: Path) -> None:
    root = write_data({"train": 1, "val": 1, "test": 1}, (4, 4), space="multiclass",
                      classes=[f"c{index}" for index in range(200)])  # fmt: skip
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    image[:2, :2] = [[[0], [100]], [[100], [200]]]
    mask = np.array([[7] * 2 + [199] * 2] * 2 + [[0] * 2 + [3] * 2] * 2, dtype=np.uint8)
    save(root / "images/train/train-0.png", image)
    save(root / "masks/train/train-0.png", mask)
    out = tmp_path / "arrays"
    pack(DataFolder.load(root), out, (2, 2))
    assert load(out, "train", "images")[0, ..., 0].tolist() == [[100, 0], [0, 0]]
    assert load(out, "train", "labels")[0].tolist() == [[7, 199], [0, 3]]
    pack(DataFolder.load(root), out, (12, 12))
    enlarged = load(out, "train", "labels")[0]
    assert (enlarged == mask.repeat(3, axis=0).repeat(3, axis=1)).all()


def test_labels_stay_where_their_image_is(write_data: WriteData, tmp_path: Path) -> None:
    """A picture of its own mask, reduced by an odd factor, still lies under the mask."""
    root = write_data({"train": 1, "val": 1, "test": 1}, (63, 63))
    disc = np.hypot(*np.mgrid[-31:32, -31:32]) < 20
    save(root / "images/train/train-0.png", np.dstack([disc * np.uint8(255)] * 3))
    save(root / "masks/train/train-0.png", disc.astype(np.uint8))
    pack(DataFolder.load(root), tmp_path / "arrays", (21, 21))
    image = load(tmp_path / "arrays", "train", "images")[0, ..., 0].astype(float)
    label = load(tmp_path / "arrays", "train", "labels")[0]
    assert (label == np.flip(label)).all()
    assert np.abs(image / 255 - label).mean() < 0.05


def test_labelled_names_come_from_the_file(write_data: WriteData, tmp_path: Path) -> None:
    root = write_data(labelled="labelled.txt")
    (root / "labelled.txt").write_text("train-3\ntrain-1\n", encoding="utf-8")
    folder = DataFolder.load(root)
    assert pack(folder, tmp_path / "arrays", labelled="file")["labelled"] == ["train-1", "train-3"]
    with pytest.raises(ImBenchError, match="spots: its description names no `labelled` file"):
        pack(DataFolder.load(write_data()), tmp_path / "arrays", labelled="file")


def test_a_limit_keeps_the_same_images_each_time(write_data: WriteData, tmp_path: Path) -> None:
    folder = DataFolder.load(write_data({"train": 20, "val": 2, "test": 5}))
    limit = {"train": 6, "test": 3}
    first = pack(folder, tmp_path / "one", limit=limit, labelled=0.5)
    assert {split: len(names) for split, names in first["names"].items()} == {
        "train": 6,
        "val": 2,
        "test": 3,
    }
    assert len(first["labelled"]) == 3
    assert set(first["labelled"]) < set(first["names"]["train"])
    assert pack(folder, tmp_path / "two", limit=limit, labelled=0.5, threads=3) == first
    for file in ("train_images.npy", "test_labels.npy"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_limit_cuts_the_listed_names_too(write_data: WriteData, tmp_path: Path) -> None:
    root = write_data({"train": 9, "val": 1, "test": 1}, labelled="labelled.txt")
    listed = [f"train-{index}" for index in range(9)]
    (root / "labelled.txt").write_text("\n".join(listed), encoding="utf-8")
    folder, limit = DataFolder.load(root), {"train": 2}
    meta = pack(folder, tmp_path / "arrays", labelled="file", limit=limit)
    assert meta["labelled"] == meta["names"]["train"]

    missed = next(name for name in listed if name not in meta["labelled"])
    (root / "labelled.txt").write_text(missed, encoding="utf-8")
    with pytest.raises(ImBenchError, match="the limit leaves no labelled image"):
        pack(folder, tmp_path / "arrays", labelled="file", limit=limit)


def test_progress_counts_to_the_end(write_data: WriteData, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    pack(
        DataFolder.load(write_data()),
        tmp_path / "arrays",
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(done, 8) for done in range(1, 9)]


def test_images_of_several_sizes_need_a_size(write_data: WriteData, tmp_path: Path) -> None:
    root = write_data(size=(8, 6))
    save(root / "images/val/val-1.png", np.zeros((6, 6, 3), dtype=np.uint8))
    save(root / "masks/val/val-1.png", np.zeros((6, 6), dtype=np.uint8))
    folder, out = DataFolder.load(root), tmp_path / "arrays"
    with pytest.raises(ImBenchError, match=r"val-1\.png: is 6x6 .* 8x6: give the suite a size"):
        pack(folder, out)
    assert not out.exists()
    assert pack(folder, out, (4, 4))["size"] == [4, 4]


def test_a_failure_leaves_the_old_arrays(write_data: WriteData, tmp_path: Path) -> None:
    root, out = write_data(), tmp_path / "arrays"
    before = pack(DataFolder.load(root), out)
    (root / "images/test/test-1.png").write_bytes(b"")
    with pytest.raises(ImBenchError, match=r"test-1\.png: is no readable image"):
        pack(DataFolder.load(root), out)
    assert read_meta(out) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


LIMITED = """
import resource, sys
from pathlib import Path
from im_bench.data.folder import DataFolder
from im_bench.data.packing import pack
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    pack(DataFolder.load(Path(sys.argv[1])), Path(sys.argv[2]))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_disk_without_room_is_told(write_data: WriteData, tmp_path: Path) -> None:
    root, out = write_data(size=(40, 40)), tmp_path / "out" / "arrays"
    command = [sys.executable, "-c", LIMITED, str(root), str(out)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith(f"ImBenchError {out}: cannot be written: File too large: make room")
    assert list(out.parent.iterdir()) == []


@settings(max_examples=30)
@given(st.sampled_from([0.1, 0.2, 0.5, 0.8]), st.sampled_from([0.5, 1.0]), st.integers(0, 2**31))
def test_held_out_images_are_labelled_ones_that_nothing_else_is_made_of(
    share: float, labelled: float, seed: int
) -> None:
    train = [f"train-{index}" for index in range(20)]
    before = choose_labelled(train, labelled, seed)
    keeping, held = _held_out(before, share, seed)
    assert held.isdisjoint(keeping)
    assert held | set(keeping) == set(before)
    assert len(held) == max(1, round(share * len(before)))
    assert keeping == [name for name in before if name in keeping], "in the same order"
    assert (keeping, held) == _held_out(before, share, seed)


def test_held_out_images_take_the_place_of_the_validation_images(
    write_data: WriteData, tmp_path: Path
) -> None:
    folder = DataFolder.load(write_data({"train": 12, "val": 3, "test": 2}))
    plain = pack(folder, tmp_path / "plain", labelled=0.5, seed=3)
    meta = pack(folder, tmp_path / "held", labelled=0.5, seed=3, hold_out=0.5)
    again = pack(folder, tmp_path / "again", labelled=0.5, seed=3, hold_out=0.5)
    assert meta == again
    train, val = set(meta["names"]["train"]), set(meta["names"]["val"])
    assert len(val) == 3
    assert val.isdisjoint(train)
    assert train | val == set(plain["names"]["train"])
    assert val | set(meta["labelled"]) == set(plain["labelled"])
    assert set(meta["labelled"]) < train
    assert meta["names"]["test"] == plain["names"]["test"]
    where = {item.name: item for item in folder.items("train")}
    for index, name in enumerate(meta["names"]["val"]):
        image, label = folder.read_pair(where[name])
        assert (load(tmp_path / "held", "val", "images")[index] == image).all()
        assert (load(tmp_path / "held", "val", "labels")[index] == label).all()


def test_holding_out_all_labelled_images_is_refused(write_data: WriteData, tmp_path: Path) -> None:
    folder = DataFolder.load(write_data({"train": 4, "val": 1, "test": 1}))
    with pytest.raises(ImBenchError, match="leaves none to learn from"):
        pack(folder, tmp_path / "arrays", labelled=0.25, hold_out=0.2)
    assert not (tmp_path / "arrays").exists()


def test_images_without_masks_are_unlabelled(write_data: WriteData, tmp_path: Path) -> None:
    for space, classes, encoding in (("binary", ["a"], "index"), ("multilabel", ["a"], "bits")):
        root = write_data({"train": 6, "val": 1, "test": 1}, space=space, classes=classes,
                          encoding=encoding)  # fmt: skip
        for index in (1, 4):
            (root / f"masks/train/train-{index}.png").unlink()
        survey = Survey(DataFolder.load(root).description)
        out = tmp_path / "arrays"
        meta = pack(DataFolder.load(root), out, labelled=0.5, survey=survey)
        assert meta["unmasked"] == ["train-1", "train-4"]
        assert len(meta["labelled"]) == 2
        assert set(meta["labelled"]).isdisjoint(meta["unmasked"])
        assert has_mask(meta).tolist() == [True, False, True, True, False, True]
        blank = load(out, "train", "labels")[[1, 4]]
        assert (blank == (255 if space == "binary" else 0)).all()
        assert not survey.doubts()
        meta = pack(DataFolder.load(root), out, labelled=1.0)
        assert len(meta["labelled"]) == 4
        with pytest.raises(ImBenchError, match="2 of 6 training images have no mask"):
            ArrayDataset(out, "all")
        assert len(ArrayDataset(out, "labelled")) == 4


def test_the_labels_that_are_learned_from_are_looked_at(
    write_data: WriteData, tmp_path: Path
) -> None:
    root = write_data(labelled="l.txt")
    (root / "l.txt").write_text("train-0\ntrain-2", encoding="utf-8")
    for index in (0, 2):
        save(root / f"masks/train/train-{index}.png", np.zeros((6, 8), np.uint8))
    survey = Survey(DataFolder.load(root).description)
    pack(DataFolder.load(root), tmp_path / "arrays", labelled="file", survey=survey)
    (doubt,) = survey.doubts()
    assert "all pixels of the labelled images are background, none is spot" in doubt.sentence
    assert doubt.grave
