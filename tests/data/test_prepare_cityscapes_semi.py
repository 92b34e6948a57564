"""Cityscapes with 19 classes and the partitions of the papers."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmseg.datasets import CityscapesDataset

from im_bench.data import synth
from im_bench.data.check import check_folder
from im_bench.data.fingerprint import fingerprint
from im_bench.data.folder import DataFolder
from im_bench.data.partitions import Partition, load_partitions
from im_bench.data.prepare import cityscapes_semi as semi
from im_bench.data.prepare import partitioned, prepare
from im_bench.data.splits import read_names
from im_bench.errors import ImBenchError

SIZE = (64, 32)
TRAIN, VAL = 40, 5


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    synth.synthesise("cityscapes", folder, {"train": TRAIN, "val": VAL}, seed=1, size=SIZE)
    return folder


@pytest.fixture(scope="module")
def folder(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    return prepare("cityscapes-semi", [raw], root=root, allow_partial=True, threads=1)


def lines(path: Path) -> list[str]:
    return path.read_text().split()


def test_classes_are_those_of_the_benchmark() -> None:
    assert tuple(semi.TRAIN_IDS) == CityscapesDataset.METAINFO["classes"]


def test_label_ids_become_train_ids() -> None:
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = np.zeros((16, 16, 3), np.uint8)
    piece = next(semi.convert(image, [ids], "train", None, np.random.default_rng(0)))
    train_ids = dict(zip(ids.ravel().tolist(), piece.label.ravel().tolist(), strict=True))
    assert piece.image is image
    assert {train_ids[label_id] for label_id in (0, 3, 6, 9, 10, 14, 18, 29, 30, 34, 255)} == {255}
    assert [train_ids[label_id] for label_id in semi.TRAIN_IDS.values()] == list(range(19))


def test_images_keep_their_size_and_pixels(raw: Path, folder: Path) -> None:
    report = check_folder(folder)
    assert report.ok, report.problems
    assert report.sizes == {SIZE: TRAIN + VAL}
    assert report.counts == {"train": TRAIN - 1, "val": 1, "test": VAL}
    for path in (folder / "images" / "test").iterdir():
        source = next(raw.rglob(f"{path.stem}_leftImg8bit.png"))
        assert (cv2.imread(str(path)) == cv2.imread(str(source))).all()


def test_lists_for_both_worlds(folder: Path) -> None:
    held_out = [path.stem for path in (folder / "images" / "val").iterdir()]
    names = {f"train/{path.stem}" for path in (folder / "images" / "train").iterdir()}
    for share, divisor in semi.SHARES.items():
        labelled = read_names(folder / f"labelled-drawn-{share}.txt")
        assert len(labelled) == (TRAIN - 1) // divisor
        data = DataFolder.load(folder / f"drawn-{share}.yaml")
        assert data.labelled_names() == labelled

        lists = folder / "lists" / f"drawn-{share}"
        assert lines(lists / "labelled.txt") == [f"train/{name}" for name in labelled]
        unlabelled = lines(lists / "unlabelled.txt")
        assert {*unlabelled, *lines(lists / "labelled.txt")} == names
        assert set(lines(lists / "unlabelled-and-val.txt")) == {
            *unlabelled,
            *(f"val/{name}" for name in held_out),
        }
    assert DataFolder.load(folder).labelled_names() == read_names(
        folder / "labelled-drawn-1-16.txt"
    )


def test_lists_are_read_by_mmsegmentation(folder: Path) -> None:
    data = CityscapesDataset(
        data_root=str(folder),
        ann_file="lists/drawn-1-8/unlabelled-and-val.txt",
        data_prefix={"img_path": "images", "seg_map_path": "labels"},
        img_suffix=".png",
        seg_map_suffix=".png",
    )
    for index in range(len(data)):
        item = data.get_data_info(index)
        assert Path(item["img_path"]).is_file()
        assert Path(item["seg_map_path"]).is_file()


def test_manifest_knows_every_file(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == there - {"manifest.json"}
    assert manifest["counts"]["labelled"] == (TRAIN - 1) // 16
    prints = [fingerprint(folder / name) for name in ("dataset.yaml", "drawn-1-8.yaml")]
    assert prints[0] != prints[1]


@pytest.mark.parametrize(("function", "call"), [("write_text", 1), ("write_json", 2)])
def test_interrupted_at_the_lists(
    function: str,
    call: int,
    raw: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Killed(BaseException):
        pass

    original, calls = getattr(partitioned, function), itertools.count(1)

    def killed_at_a_call(*arguments: object) -> None:
        if next(calls) == call:
            raise Killed
        original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(partitioned, function, killed_at_a_call)
        with pytest.raises(Killed):
            prepare("cityscapes-semi", [raw], root=tmp_path, allow_partial=True, threads=1)
    again = prepare("cityscapes-semi", [raw], root=tmp_path, allow_partial=True, threads=1)
    expected = json.loads((folder / "manifest.json").read_text())
    assert json.loads((again / "manifest.json").read_text()) == expected
    assert prepare("cityscapes-semi", [raw], root=tmp_path, allow_partial=True) == again


def test_official_partitions_are_whole(shared: Path, tmp_path: Path) -> None:
    if not (shared / "splits").is_dir():
        pytest.skip("no partitions")
    partitions = load_partitions(tmp_path, [shared / "splits"])
    labelled = {name for each in partitions for name in each.labelled}
    held_out = partitioned.hold_out(
        {*partitions[0].labelled, *partitions[0].unlabelled}, labelled, semi.TRAINING_IMAGES
    )
    assert len(held_out) == 100
    assert not labelled & set(held_out)


def test_lists_of_an_official_partition() -> None:
    partition = Partition("u2pl", "1-16", ("train/ulm/b",), ("train/ulm/c", "train/ulm/a"))
    texts = partitioned.partition_files(
        partition, {"name": "x", "labelled": None}, {"c"}, semi.RECIPE
    )
    assert texts["labelled-u2pl-1-16.txt"] == "b\n"
    assert texts["lists/u2pl-1-16/labelled.txt"] == "train/b\n"
    assert texts["lists/u2pl-1-16/unlabelled.txt"] == "train/a\n"
    assert texts["lists/u2pl-1-16/unlabelled-and-val.txt"] == "val/c\ntrain/a\n"
    assert "labelled: labelled-u2pl-1-16.txt" in texts["u2pl-1-16.yaml"]


def test_incomplete_data_are_refused(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semi, "load_partitions", lambda *_: [])
    with pytest.raises(ImBenchError, match="40 images found where the official data set has 2975"):
        prepare("cityscapes-semi", [raw], root=tmp_path)
