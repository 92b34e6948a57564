"""Pascal VOC 2012 with the labels of SBD, and its partitions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS
from PIL import Image

from im_bench.cli.data import _tell_overlaps
from im_bench.data.check import check_folder
from im_bench.data.folder import DataFolder
from im_bench.data.partitions import Partition
from im_bench.data.pascal_partitions import load_partitions, load_validation
from im_bench.data.prepare import partitioned, pascal, prepare
from im_bench.data.splits import read_names
from im_bench.errors import ImBenchError
from im_bench.files import read_json

TRAIN = [f"2007_{number:06d}" for number in range(1, 33)]
VAL = [f"2008_{number:06d}" for number in range(1, 4)]
VAL_AT = range(len(VAL))
CONFIGS = Path(__file__).parents[2] / "mm_configs"
PALETTE = [value for index in range(256) for value in (index, 255 - index, index // 2)]


def paint(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    mask = rng.choice(np.array([0, 7, 20, 255], np.uint8), (height, width))
    mask[0, :4] = 0, 7, 20, 255
    return mask


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some images in the official layout; masks with a palette (VOC) and without (SBD)."""
    folder, rng = tmp_path_factory.mktemp("raw") / "VOCdevkit" / "VOC2012", np.random.default_rng(0)
    for name in ("JPEGImages", "SegmentationClass", "SegmentationClassAug"):
        (folder / name).mkdir(parents=True)
    for index, name in enumerate([*TRAIN, *VAL, "2009_000001"]):
        height, width = 20 + index % 3, 30 - index % 2
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "JPEGImages" / f"{name}.jpg")
        mask = Image.fromarray(paint(rng, height, width))
        if name in TRAIN:
            mask.save(folder / "SegmentationClassAug" / f"{name}.png")
        if name not in TRAIN[3:]:  # VOC labels some of the training images as well
            mask.putpalette(PALETTE)
            mask.save(folder / "SegmentationClass" / f"{name}.png")
    return folder.parents[1]


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> list[Partition]:
    """Stands for the official lists."""
    partitions = [
        Partition("classic", "92", tuple(TRAIN[:2]), tuple(TRAIN[2:])),
        Partition("u2pl", "1-4", tuple(TRAIN[4:12]), (*TRAIN[:4], *TRAIN[11:])),
    ]
    monkeypatch.setattr(pascal, "load_partitions", lambda *_: partitions)
    monkeypatch.setattr(pascal, "load_validation", lambda *_: VAL)
    return partitions


def make_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the few images be all of them."""
    monkeypatch.setitem(pascal.RECIPE.raw, "train", pascal._split("SegmentationClassAug", 32))
    monkeypatch.setitem(pascal.RECIPE.raw, "val", pascal._split("SegmentationClass", 3))
    monkeypatch.setattr(pascal, "TRAINING_IMAGES", 3200)


def test_classes_are_those_of_the_benchmark() -> None:
    assert PascalVOCDataset.METAINFO["classes"] == pascal.CLASSES


def test_partitions_and_labels(raw: Path, lists, tmp_path: Path, monkeypatch) -> None:
    make_whole(monkeypatch)
    folder = prepare("pascal", [raw], root=tmp_path, threads=1)
    report = check_folder(folder)
    assert report.ok, report.problems
    assert report.counts == {"train": 31, "val": 1, "test": 3}
    assert len(report.sizes) > 1
    assert DataFolder.load(folder).labelled_names() == TRAIN[:2]
    assert DataFolder.load(folder / "u2pl-1-4.yaml").labelled_names() == TRAIN[4:12]
    assert read_names(folder / "labelled-u2pl-1-4.txt") == TRAIN[4:12]
    (held_out,) = (path.stem for path in (folder / "images" / "val").iterdir())
    assert held_out not in {name for each in lists for name in each.labelled}
    unlabelled = (folder / "lists/classic-92/unlabelled-and-val.txt").read_text().split()
    assert unlabelled == [
        f"{'val' if name == held_out else 'train'}/{name}" for name in lists[0].unlabelled
    ]
    for split, source in (("train", "SegmentationClassAug"), ("test", "SegmentationClass")):
        for path in (folder / "labels" / split).iterdir():
            stored = np.array(Image.open(raw / "VOCdevkit/VOC2012" / source / path.name))
            label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert np.array_equal(label, stored)
            assert set(np.unique(label)) == {0, 7, 20, 255}


def test_configs_of_mmsegmentation_read_what_is_written(
    raw: Path, lists, tmp_path: Path, monkeypatch
) -> None:
    make_whole(monkeypatch)
    monkeypatch.setenv("PASCAL", str(prepare("pascal", [raw], root=tmp_path, threads=1)))
    config = Config.fromfile(CONFIGS / "unimatch" / "unimatch_r50_voc_92.py")
    with DefaultScope.overwrite_default_scope("mmseg"):
        training = DATASETS.build(config.train_dataloader.dataset)
        validation = DATASETS.build(config.val_dataloader.dataset)
        view = training[0]
        shown = [
            each["data_samples"].gt_sem_seg.data for each in map(validation.__getitem__, VAL_AT)
        ]
    assert (len(training.labelled), len(training.unlabelled)) == (2, 30)
    assert view["inputs"]["labelled"].shape == (321, 321, 3)
    assert view["inputs"].keys() == {"labelled", "unlabelled", "partner"}
    for name, labels in zip(VAL, shown, strict=True):
        source = raw / "VOCdevkit/VOC2012/SegmentationClass" / f"{name}.png"
        assert np.array_equal(labels[0], np.array(Image.open(source)))


def test_images_in_both_lists_are_told(raw: Path, lists, tmp_path: Path, monkeypatch, capsys):
    make_whole(monkeypatch)
    folder = prepare("pascal", [raw], root=tmp_path, threads=1)
    overlaps = read_json(folder / "manifest.json")["overlaps"]
    assert overlaps == {"classic-92": [], "u2pl-1-4": [TRAIN[11]]}
    _tell_overlaps(overlaps)
    assert capsys.readouterr().err == (
        "warning: partition u2pl-1-4 has 1 labelled images that are in its unlabelled list as "
        f"well: {TRAIN[11]}\n"
    )
    _tell_overlaps({"classic-92": []})
    assert "none of 1 partitions has an image in both" in capsys.readouterr().out


def test_part_of_it_gets_partitions_of_its_own(raw: Path, lists, tmp_path: Path) -> None:
    folder = prepare("pascal", [raw], root=tmp_path, allow_partial=True, threads=1)
    assert read_json(folder / "manifest.json")["counts"]["train"] == 31
    assert len(read_names(folder / "labelled-drawn-1-4.txt")) == 7
    assert not (folder / "classic-92.yaml").exists()


def test_incomplete_data_are_refused(raw: Path, lists, tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match="32 images found where the official data set has 10582"):
        prepare("pascal", [raw], root=tmp_path)


def test_masks_as_colours_are_refused(lists, tmp_path: Path) -> None:
    for name, mode in (("SegmentationClass", "P"), ("SegmentationClassAug", "RGB")):
        (tmp_path / "raw" / name).mkdir(parents=True)
        for each in (*TRAIN, *VAL):
            Image.new(mode, (20, 20)).save(tmp_path / "raw" / name / f"{each}.png")
    (tmp_path / "raw" / "JPEGImages").mkdir()
    for each in (*TRAIN, *VAL):
        Image.new("RGB", (20, 20)).save(tmp_path / "raw" / "JPEGImages" / f"{each}.jpg")
    with pytest.raises(ImBenchError, match="has colours where it should have indices"):
        prepare("pascal", [tmp_path / "raw"], root=tmp_path, allow_partial=True, threads=1)


def test_other_values_are_refused() -> None:
    mask = np.full((4, 4), 21, np.uint8)
    with pytest.raises(ImBenchError, match="a mask holds 21, which is no class"):
        next(pascal.convert(mask, [mask], "train", None, np.random.default_rng(0)))


def test_official_partitions(shared: Path, tmp_path: Path) -> None:
    if not (shared / "splits").is_dir():
        pytest.skip("no partitions")
    found = load_partitions(tmp_path, [shared / "splits"])
    assert {each.name: len(each.labelled) for each in found} == {
        **{f"classic-{count}": count for count in (92, 183, 366, 732, 1464)},
        **{"u2pl-1-16": 662, "u2pl-1-8": 1323, "u2pl-1-4": 2646, "u2pl-1-2": 5291},
        **{"cps-1-16": 662, "cps-1-8": 1323, "cps-1-4": 2646},
    }
    training = {frozenset(each.labelled + each.unlabelled) for each in found}
    assert [len(names) for names in training] == [pascal.TRAINING_IMAGES]
    validation = load_validation(tmp_path, [shared / "splits"])
    assert len(set(validation)) == pascal.VALIDATION_IMAGES
    assert not training.pop().intersection(validation)
    assert not any(each.overlap for each in found)
    labelled = {name for each in found for name in each.labelled}
    names = {*found[0].labelled, *found[0].unlabelled}
    held_out = partitioned.hold_out(names, labelled, pascal.TRAINING_IMAGES)
    assert len(held_out) == 100
    assert not labelled.intersection(held_out)


def test_lists_of_both_repositories_label_the_same_classic_images(shared: Path) -> None:
    if not (shared / "splits").is_dir():
        pytest.skip("no partitions")
    for count in (92, 183, 366, 732, 1464):
        unimatch, u2pl = (
            {
                line.split()[0].rpartition("/")[2].removesuffix(".jpg")
                for line in (shared / f"splits/{name}/pascal/{count}/labeled.txt").open()
            }
            for name in ("unimatch", "u2pl")
        )
        assert unimatch == u2pl
