"""Labelled and unlabelled images of packed arrays, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from im_bench.data.arrays import take_batch
from im_bench.data.pseudo_labels import write_pseudo_labels
from im_bench.data.semi_arrays import SemiArrayDataset
from im_bench.data.tickets import TicketSampler
from im_bench.errors import ImBenchError
from im_bench.files import write_json

IMAGES, LABELLED, SIZE = 8, (1, 4, 6), (12, 10)
UNLABELLED = [index for index in range(IMAGES) if index not in LABELLED]


def packed(folder: Path, labelled: tuple[int, ...] = LABELLED, space: str = "multiclass") -> Path:
    """Write arrays in which the pixels of an image are its number + 1."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.arange(1, IMAGES + 1, dtype=np.uint8)[:, None, None]
    labels = np.broadcast_to(numbers, (IMAGES, SIZE[1], SIZE[0]))
    np.save(folder / "train_images.npy", np.repeat(labels[..., None], 3, -1))
    np.save(folder / "train_labels.npy", labels)
    names = [f"image-{index}" for index in range(IMAGES)]
    meta = {
        "space": space,
        "classes": [str(number) for number in range(IMAGES + 1)],
        "names": {"train": names},
        "labelled": [names[index] for index in labelled],
    }
    write_json(folder / "meta.json", meta)
    return folder


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    return packed(tmp_path / "arrays")


@pytest.fixture
def pseudo(tmp_path: Path) -> Path:
    """Pseudo-labels of the images 2 and 5: their number + 1, the left half disputed."""
    kept = np.array([2, 5])
    inconsistent = np.zeros((2, SIZE[1], SIZE[0]), np.bool_)
    inconsistent[:, :, : SIZE[0] // 2] = True
    labels = np.broadcast_to((kept + 1).astype(np.uint8)[:, None, None], inconsistent.shape)
    folder = tmp_path / "pseudo"
    folder.mkdir()
    write_pseudo_labels(folder, kept, labels, inconsistent, blank=True)
    return folder


def numbers_of(images: torch.Tensor) -> list[int]:
    return [int(image.max()) - 1 for image in images]


@pytest.mark.parametrize("crop", [None, (8, 9)])
@pytest.mark.parametrize("partner", ["none", "same", "other"])
def test_an_epoch(arrays: Path, partner: Any, crop: Any) -> None:
    dataset = SemiArrayDataset(arrays, partner=partner, crop=crop)
    batch = dataset.__getitems__(range(len(dataset)))
    width, height = crop or SIZE
    branches = ["labelled", "unlabelled"] + ["partner"] * (partner != "none")
    assert list(batch["inputs"]) == list(batch["data_samples"]) == branches
    for images in batch["inputs"].values():
        assert images.shape == (len(UNLABELLED), height, width, 3)
        assert images.dtype == torch.uint8
    labelled, unlabelled = (numbers_of(batch["inputs"][branch]) for branch in branches[:2])
    assert set(labelled) == set(LABELLED)
    assert sorted(unlabelled) == UNLABELLED
    labels, images = batch["data_samples"]["labelled"], batch["inputs"]["labelled"]
    assert torch.equal(labels, images[..., 0].masked_fill(images[..., 0] == 0, 255))
    for branch in branches[1:]:
        valid = batch["data_samples"][branch]["valid"]
        assert torch.equal(valid, batch["inputs"][branch][..., 0] > 0)
    if partner != "none":
        partners = numbers_of(batch["inputs"]["partner"])
        same = [a == b for a, b in zip(unlabelled, partners, strict=True)]
        assert all(same) if partner == "same" else not any(same)


@pytest.mark.parametrize("crop", [None, (8, 9)])
def test_pseudo_labels(arrays: Path, pseudo: Path, crop: Any) -> None:
    dataset = SemiArrayDataset(arrays, pseudo, partner="other", crop=crop)
    batch = dataset.__getitems__(range(2 * len(dataset)))
    for branch in ("unlabelled", "partner"):
        maps = batch["data_samples"][branch]
        assert maps["consensus"].dtype == torch.uint8
        assert maps["inconsistent"].dtype == maps["valid"].dtype == torch.bool
        for index, number in enumerate(numbers_of(batch["inputs"][branch])):
            consensus, inconsistent, valid = (
                maps[name][index] for name in ("consensus", "inconsistent", "valid")
            )
            assert not inconsistent[~valid].any()
            if number in (2, 5):
                assert (consensus[valid] == number + 1).all()
                assert crop or inconsistent.float().mean() == 0.5
            else:
                assert inconsistent[valid].all()


@pytest.mark.parametrize("crop", [None, (8, 9)])
def test_batches_depend_on_seed_and_ticket_only(arrays: Path, crop: Any) -> None:
    options: dict[str, Any] = {"crop": crop, "partner": "same", "seed": 3}
    together = SemiArrayDataset(arrays, **options).__getitems__([7, 8])
    alone = SemiArrayDataset(arrays, **options).__getitems__([8])
    for branch, images in alone["inputs"].items():
        assert torch.equal(together["inputs"][branch][1:], images)


def test_loader_with_workers(arrays: Path) -> None:
    def batches(workers: int) -> list[Any]:
        dataset = SemiArrayDataset(arrays, crop=6, seed=1)
        loader = DataLoader(
            dataset,
            batch_size=2,
            sampler=TicketSampler(dataset),
            num_workers=workers,
            collate_fn=take_batch,
        )
        return [batch for batch, _ in zip(loader, range(4), strict=False)]

    for here, there in zip(batches(0), batches(2), strict=True):
        assert torch.equal(here["inputs"]["unlabelled"], there["inputs"]["unlabelled"])
        assert torch.equal(here["data_samples"]["labelled"], there["data_samples"]["labelled"])


def test_arrays_stay_on_disk(arrays: Path, pseudo: Path) -> None:
    """A change of the files is seen: nothing has been read into memory."""
    dataset = SemiArrayDataset(arrays, pseudo, crop=SIZE, ratio=(1, 1))
    images = np.lib.format.open_memmap(arrays / "train_images.npy", mode="r+")
    images[:] = 77
    labels = np.lib.format.open_memmap(pseudo / "labels.npy", mode="r+")
    labels[:] = 3
    batch = dataset.__getitems__(range(len(dataset)))
    assert set(batch["inputs"]["unlabelled"].unique().tolist()) == {77}
    assert set(batch["data_samples"]["unlabelled"]["consensus"].unique().tolist()) == {0, 3}


def test_multilabel_padding_shows_no_class(tmp_path: Path) -> None:
    dataset = SemiArrayDataset(packed(tmp_path, space="multilabel"), crop=40)
    item = dataset.__getitems__([0])
    padding = item["inputs"]["labelled"][..., 0] == 0
    assert padding.any()
    assert (item["data_samples"]["labelled"][padding] == 0).all()


def test_without_unlabelled_images(arrays: Path) -> None:
    dataset = SemiArrayDataset(arrays, unlabelled=False)
    assert len(dataset) == len(LABELLED)
    batch = dataset[0]
    assert list(batch["inputs"]) == list(batch["data_samples"]) == ["labelled"]


@pytest.mark.parametrize(
    ("labelled", "message"),
    [((), "no training image is labelled"), (tuple(range(IMAGES)), "no training image is unlabel")],
)
def test_one_sided_data(tmp_path: Path, labelled: tuple[int, ...], message: str) -> None:
    with pytest.raises(ImBenchError, match=message):
        SemiArrayDataset(packed(tmp_path, labelled))


@pytest.mark.parametrize("crop", [None, 8])
def test_foreign_pseudo_labels(arrays: Path, pseudo: Path, crop: Any) -> None:
    np.save(pseudo / "labels.npy", np.zeros((2, 5, 5), np.uint8))
    with pytest.raises(ImBenchError, match="do not belong to 8 training images of 12x10"):
        SemiArrayDataset(arrays, pseudo, crop=crop)
    (pseudo / "labels.npy").unlink()
    with pytest.raises(ImBenchError, match="cannot be read"):
        SemiArrayDataset(arrays, pseudo, crop=crop)
