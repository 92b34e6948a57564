from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler
from torch.utils.data import DataLoader

from im_bench.data.arrays import ArrayDataset, Batch, read_meta, take_batch, training_images
from im_bench.data.pseudo_labels import write_pseudo_labels
from im_bench.errors import ImBenchError


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Packed arrays whose images and labels hold their own index."""
    folder = tmp_path / "arrays"
    folder.mkdir()
    names = {}
    for split, count in {"train": 10, "val": 3, "test": 2}.items():
        names[split] = [f"{split}{index}" for index in range(count)]
        index = np.arange(count, dtype=np.uint8)
        np.save(
            folder / f"{split}_images.npy",
            np.broadcast_to(index[:, None, None, None], (count, 4, 6, 3)),
        )
        np.save(
            folder / f"{split}_labels.npy", np.broadcast_to(index[:, None, None], (count, 4, 6))
        )
    meta = {"classes": ["spot"], "labelled": ["train7", "train2"], "names": names}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


@pytest.fixture
def pseudo_dir(tmp_path: Path) -> Path:
    """Three pseudo-labelled images, blanked in the lower right corner."""
    folder = tmp_path / "pseudo"
    inconsistent = np.zeros((3, 4, 6), np.bool_)
    inconsistent[:, 3, 5] = True
    write_pseudo_labels(
        folder, np.array([4, 1, 9]), np.full((3, 4, 6), 1, np.uint8), inconsistent, blank=True
    )
    return folder


def values(dataset: ArrayDataset) -> list[int]:
    return [int(value) for value in everything(dataset)["inputs"][:, 0, 0, 0]]


def everything(dataset: ArrayDataset) -> Batch:
    return dataset.__getitems__(range(len(dataset)))


def test_parts(data_dir: Path) -> None:
    assert values(ArrayDataset(data_dir, "labelled")) == [7, 2]
    assert values(ArrayDataset(data_dir, "all")) == list(range(10))
    assert values(ArrayDataset(data_dir, "val")) == [0, 1, 2]
    assert values(ArrayDataset(data_dir, "test")) == [0, 1]
    assert ArrayDataset(data_dir, "val").metainfo == {"classes": ("spot",)}


def test_pseudo_labels_are_added(data_dir: Path, pseudo_dir: Path) -> None:
    dataset = ArrayDataset(data_dir, "labelled", pseudo_dir)
    assert values(dataset) == [7, 2, 4, 1, 9]
    batch = everything(dataset)
    assert batch["data_samples"][:, 0, 0].tolist() == [7, 2, 1, 1, 1]
    assert batch["inputs"][:, 3, 5, 0].tolist() == [7, 2, 0, 0, 0]
    mixed = dataset.__getitems__([4, 0, 2])
    assert mixed["inputs"][:, 0, 0, 0].tolist() == [9, 7, 4]
    assert mixed["data_samples"][:, 0, 0].tolist() == [1, 7, 1]
    assert dataset[3]["inputs"][0, 0, 0] == 1
    assert batch["inputs"][:, 3, 4, 0].tolist() == [7, 2, 4, 1, 9]
    for part, pseudo in (("labelled", pseudo_dir), ("all", None), ("all", pseudo_dir)):
        count = len(ArrayDataset(data_dir, part, pseudo))  # type: ignore[arg-type]
        assert training_images(data_dir, part, pseudo) == count


def test_a_loader_gives_whole_batches_and_every_image_once_a_round(data_dir: Path) -> None:
    dataset = ArrayDataset(data_dir, "all")
    loader = DataLoader(
        dataset, batch_size=5, sampler=InfiniteSampler(dataset, seed=1), collate_fn=take_batch
    )
    batches = iter(loader)
    first, second = next(batches), next(batches)
    assert first["inputs"].shape == (5, 4, 6, 3)
    assert first["data_samples"].shape == (5, 4, 6)
    assert torch.equal(first["inputs"][:, :, :, 0], first["data_samples"])
    seen = torch.cat([first["data_samples"], second["data_samples"]])[:, 0, 0]
    assert sorted(seen.tolist()) == list(range(10))


def test_a_batch_is_a_copy(data_dir: Path) -> None:
    dataset = ArrayDataset(data_dir, "all")
    dataset.__getitems__([3])["inputs"].fill_(99)
    assert int(dataset[3]["inputs"][0, 0, 0]) == 3
    assert np.load(data_dir / "train_images.npy")[3, 0, 0, 0] == 3


def test_broken_files_are_named(data_dir: Path, pseudo_dir: Path) -> None:
    images = data_dir / "train_images.npy"
    whole = images.read_bytes()
    images.write_bytes(whole[:-7])
    with pytest.raises(ImBenchError, match=r"train_images\.npy cannot be read"):
        ArrayDataset(data_dir, "all")
    images.unlink()
    with pytest.raises(ImBenchError, match=r"train_images\.npy cannot be read"):
        ArrayDataset(data_dir, "all")
    images.write_bytes(whole)
    np.save(data_dir / "train_labels.npy", np.zeros((9, 4, 6), np.uint8))
    with pytest.raises(ImBenchError, match="does not fit"):
        ArrayDataset(data_dir, "all")
    np.save(data_dir / "train_labels.npy", np.zeros((10, 4, 6), np.uint8))
    np.save(pseudo_dir / "labels.npy", np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(ImBenchError, match="do not belong to 10 training images of 6x4"):
        ArrayDataset(data_dir, "labelled", pseudo_dir)
    (pseudo_dir / "labels.npy").unlink()
    with pytest.raises(ImBenchError, match="cannot be read"):
        ArrayDataset(data_dir, "labelled", pseudo_dir)
    (pseudo_dir / "pseudo.json").unlink()
    with pytest.raises(ImBenchError, match="run the pseudo-label stage again"):
        training_images(data_dir, "labelled", pseudo_dir)


def test_an_empty_part_and_a_strange_name_are_named(data_dir: Path) -> None:
    meta = read_meta(data_dir)
    (data_dir / "meta.json").write_text(json.dumps({**meta, "labelled": []}))
    with pytest.raises(ImBenchError, match="no images in part 'labelled'"):
        ArrayDataset(data_dir, "labelled")
    (data_dir / "meta.json").write_text(json.dumps({**meta, "labelled": ["nobody"]}))
    with pytest.raises(ImBenchError, match="'nobody' is no training image"):
        ArrayDataset(data_dir, "labelled")
    (data_dir / "meta.json").write_text("{")
    with pytest.raises(ImBenchError, match=r"meta\.json cannot be read"):
        ArrayDataset(data_dir, "labelled")
