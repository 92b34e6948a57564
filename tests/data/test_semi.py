"""Labelled and unlabelled images of MMSegmentation's data sets, side by side."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator
from mmseg.utils import register_all_modules
from torch.utils.data import DataLoader

from im_bench.data.label_maps import UNDECIDED, write_label_map
from im_bench.data.semi import SemiDataset, collate_semi
from im_bench.data.transforms import transforms_of
from im_bench.errors import ImBenchError

from .conftest import save

LABELLED, UNLABELLED, SIZE, CROP = 3, 7, (40, 30), (24, 20)

register_all_modules(init_default_scope=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images in which every pixel of an image says which one it is, but for noise."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for index in range(LABELLED + UNLABELLED):
        pixels = rng.integers(0, 4, (SIZE[1], SIZE[0], 3)) + 20 * index + 10
        save(folder / "images" / f"{index}.png", pixels.astype(np.uint8))
        labels = rng.integers(0, 3, (SIZE[1], SIZE[0]))
        save(folder / "labels" / f"{index}.png", labels.astype(np.uint8))
    for name, numbers in (
        ("labelled", range(LABELLED)),
        ("unlabelled", range(LABELLED, LABELLED + UNLABELLED)),
    ):
        (folder / f"{name}.txt").write_text("".join(f"{number}\n" for number in numbers))
    return folder


def config(root: Path, name: str, *steps: str, packed: bool = False) -> dict[str, Any]:
    return {
        "type": "BaseSegDataset",
        "data_root": str(root),
        "ann_file": f"{name}.txt",
        "data_prefix": {"img_path": "images", "seg_map_path": "labels"},
        "img_suffix": ".png",
        "serialize_data": False,  # it collects garbage, which takes longer than these tests
        "metainfo": {"classes": ("a", "b", "c")},
        "pipeline": [
            {"type": "LoadImageFromFile"},
            *({"type": step} for step in steps),
            {"type": "mmseg.RandomScaleCrop", "crop": CROP},
            *([{"type": "mmseg.PackSegInputs"}] if packed else []),
        ],
    }


def semi(root: Path, *, packed: bool = False, **options: Any) -> SemiDataset:
    labelled = config(root, "labelled", "mmseg.LoadAnnotations", packed=packed)
    unlabelled = config(root, "unlabelled", "mmseg.BlankAnnotations", packed=packed)
    return SemiDataset(labelled, unlabelled, **options)


def image_number(image: torch.Tensor) -> int:
    return int(image.max()) // 20


def loader(dataset: SemiDataset, workers: int = 0) -> DataLoader[Any]:
    return Runner.build_dataloader(
        {
            "dataset": dataset,
            "sampler": {"type": "TicketSampler"},
            "batch_size": 2,
            "num_workers": workers,
            "collate_fn": {"type": "collate_semi"},
        },
        seed=4,
    )


def assert_same(first: Any, second: Any) -> None:
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for name in first:
            assert_same(first[name], second[name])
    else:
        assert first.dtype == second.dtype
        assert torch.equal(first, second)


@pytest.mark.parametrize("partner", ["none", "same", "other"])
def test_raw_batch(root: Path, partner: str) -> None:
    batch = next(iter(loader(semi(root, partner=partner))))
    branches = ["labelled", "unlabelled"] + ["partner"] * (partner != "none")
    assert list(batch["inputs"]) == list(batch["data_samples"]) == branches
    for images in batch["inputs"].values():
        assert images.shape == (2, CROP[1], CROP[0], 3)
        assert images.dtype == torch.uint8
    assert batch["data_samples"]["labelled"].shape == (2, CROP[1], CROP[0])
    for branch in branches[1:]:
        samples = batch["data_samples"][branch]
        assert list(samples) == ["valid"]
        assert samples["valid"].dtype == torch.bool
        # What is no image is black, what is image is not.
        assert torch.equal(samples["valid"], batch["inputs"][branch].amax(-1) > 0)


def test_an_epoch_shows_every_image(root: Path) -> None:
    dataset = semi(root)
    assert len(dataset) == UNLABELLED
    items = [dataset[number]["inputs"] for number in range(UNLABELLED)]
    unlabelled = sorted(image_number(item["unlabelled"]) for item in items)
    assert unlabelled == list(range(LABELLED, LABELLED + UNLABELLED))
    assert {image_number(item["labelled"]) for item in items} == set(range(LABELLED))


def test_partners(root: Path) -> None:
    with_same, with_other = semi(root, partner="same"), semi(root, partner="other")
    for number in range(20):
        same, other = with_same[number]["inputs"], with_other[number]["inputs"]
        assert image_number(same["partner"]) == image_number(same["unlabelled"])
        assert not torch.equal(same["partner"], same["unlabelled"])
        assert image_number(other["partner"]) != image_number(other["unlabelled"])
        # Who asks for partners sees the same views otherwise.
        assert torch.equal(same["unlabelled"], other["unlabelled"])


def test_labels_belong_to_their_image(root: Path) -> None:
    from PIL import Image

    item = semi(root)[3]
    number = image_number(item["inputs"]["labelled"])
    labels = item["data_samples"]["labelled"]
    assert set(labels.unique().tolist()) <= {0, 1, 2, 255}
    stored = np.asarray(Image.open(root / "labels" / f"{number}.png"))
    share = np.mean(stored == 0)
    assert abs(float((labels[labels < 255] == 0).float().mean()) - share) < 0.12


def test_views_depend_on_seed_and_ticket_only(root: Path) -> None:
    first, second = semi(root, seed=1, partner="same"), semi(root, seed=1, partner="same")
    second[0]
    np.random.seed(99)
    assert_same(first[5], second[5])
    assert not torch.equal(
        semi(root, seed=2)[5]["inputs"]["unlabelled"], first[5]["inputs"]["unlabelled"]
    )


def test_global_generators_are_left_alone(root: Path) -> None:
    def draws() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    def seeded() -> None:
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)

    seeded()
    expected = draws()
    seeded()
    semi(root)[0]
    assert draws() == expected


def test_resumed_training_sees_what_it_would_have_seen(root: Path) -> None:
    without_stop = iter(loader(semi(root, partner="same")))
    batches = [next(without_stop) for _ in range(6)]
    resumed = _InfiniteDataloaderIterator(loader(semi(root, partner="same"), workers=2))
    resumed.skip_iter(4)
    for expected in batches[4:]:
        assert_same(next(resumed), expected)


def test_packed_inputs_are_the_same(root: Path) -> None:
    assert_same(semi(root, packed=True)[2], semi(root)[2])


def test_stored_pseudo_labels(root: Path, tmp_path: Path) -> None:
    dataset = semi(root, partner="same")
    files = dataset.unlabelled_files()
    numbers = range(LABELLED, LABELLED + UNLABELLED)
    assert [Path(file).name for file in files] == [f"{number}.png" for number in numbers]
    assert not dataset.has_pseudo_labels
    for index, file in enumerate(files):
        stored = np.full((SIZE[1], SIZE[0]), index, np.uint8)
        stored[::3] = UNDECIDED
        write_label_map(tmp_path, file, stored, "")
    dataset.set_pseudo_labels(tmp_path)
    assert dataset.has_pseudo_labels
    for number in range(UNLABELLED):
        item = dataset[number]
        for branch in ("unlabelled", "partner"):
            maps = item["data_samples"][branch]
            valid, inconsistent, consensus = (
                maps[name] for name in ("valid", "inconsistent", "consensus")
            )
            assert torch.equal(valid, item["inputs"][branch].amax(-1) > 0)
            assert 0 < inconsistent[valid].float().mean() < 1
            assert not inconsistent[~valid].any()
            index = image_number(item["inputs"][branch]) - LABELLED
            assert (consensus[valid & ~inconsistent] == index).all()
            assert (consensus[~valid | inconsistent] == 0).all()


def test_workers_take_pseudo_labels_that_were_set_before(root: Path, tmp_path: Path) -> None:
    batches = loader(semi(root), workers=2)
    dataset: Any = batches.dataset
    for file in dataset.unlabelled_files():
        write_label_map(tmp_path, file, np.ones((SIZE[1], SIZE[0]), np.uint8), "")
    dataset.set_pseudo_labels(tmp_path)
    assert "consensus" in next(iter(batches))["data_samples"]["unlabelled"]


def test_folders_of_pseudo_labels_follow_each_other(root: Path, tmp_path: Path) -> None:
    dataset = semi(root)
    dataset.set_pseudo_labels(tmp_path / "first")
    dataset.set_pseudo_labels(tmp_path / "second")
    with pytest.raises(ImBenchError, match=r"second.*let InconsistencyMaskHook make it"):
        dataset[0]


def test_without_unlabelled_images(root: Path) -> None:
    dataset = SemiDataset(config(root, "labelled", "mmseg.LoadAnnotations"))
    assert len(dataset) == LABELLED
    item = dataset[1]
    assert list(item["inputs"]) == list(item["data_samples"]) == ["labelled"]
    assert dataset.unlabelled_files() == []
    with pytest.raises(ImBenchError, match="no place for pseudo-labels: put LoadPseudoLabels"):
        dataset.set_pseudo_labels(root)


def test_seed_comes_from_the_runner(root: Path) -> None:
    assert_same(
        next(iter(loader(semi(root)))), collate_semi([semi(root, seed=4)[n] for n in (0, 1)])
    )


@pytest.fixture
def damaged(root: Path, tmp_path: Path) -> Path:
    """A copy of the folder, to be damaged."""
    shutil.copytree(root, tmp_path / "copy")
    return tmp_path / "copy"


def test_labels_without_an_output_are_refused(damaged: Path) -> None:
    dataset = semi(damaged)
    dataset.label_count = 3
    for number in range(LABELLED):
        dataset[number]
    for number in range(LABELLED):
        save(damaged / "labels" / f"{number}.png", np.full((SIZE[1], SIZE[0]), 3, np.uint8))
    with pytest.raises(ImBenchError, match=r"labels/\d.png has the label 3, .* knows 0 to 2"):
        dataset[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("images/{}.png", b"no image"),
        ("labels/{}.png", b"no image"),
        ("images/{}.png", None),
        ("labels/{}.png", None),
        ("labels/{}.png", np.zeros((SIZE[1], SIZE[0], 3), np.uint8)),
        ("labels/{}.png", np.zeros((SIZE[1] // 2, SIZE[0]), np.uint8)),
    ],
)
def test_damaged_files_are_named(damaged: Path, name: str, content: Any) -> None:
    for number in range(LABELLED):
        path = damaged / name.format(number)
        path.unlink()
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            save(path, content)
    with pytest.raises(ImBenchError, match=r"image .*images/\d.png with .*labels/\d.png") as caught:
        semi(damaged)[0]
    assert "\n" not in str(caught.value)


def test_images_of_16_bits_are_refused_where_they_are_loaded_as_such(damaged: Path) -> None:
    for number in range(LABELLED):
        path = damaged / "images" / f"{number}.png"
        cv2.imwrite(str(path), np.ones((SIZE[1], SIZE[0], 3), np.uint16))
    dataset = semi(damaged)
    transforms_of(dataset.labelled)[0].color_type = "unchanged"
    with pytest.raises(ImBenchError, match=r"images/\d.png .* is loaded as uint16: scale it to 8"):
        dataset[0]


def test_views_of_different_size(root: Path) -> None:
    items = [
        {"inputs": {"labelled": torch.zeros(size, 4, 3)}, "data_samples": {}} for size in (4, 5)
    ]
    with pytest.raises(ImBenchError, match=r"have the shapes \(4, 4, 3\) and \(5, 4, 3\)"):
        collate_semi(items)


def test_empty_part(root: Path, tmp_path: Path) -> None:
    empty = config(root, "labelled", "mmseg.LoadAnnotations")
    empty["ann_file"] = str(tmp_path / "none.txt")
    (tmp_path / "none.txt").touch()
    with pytest.raises(ImBenchError, match="the labelled data set holds no image"):
        SemiDataset(empty)
