"""Packed arrays as an MMSegmentation data set that gives whole batches at once.

The arrays (``docs/architecture.md``) are memory-mapped or held in memory, so taking a batch is one
indexing operation: worker processes would only cost time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from mmengine.registry import FUNCTIONS
from mmseg.registry import DATASETS
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from im_bench.data.description import Reading
from im_bench.data.pseudo_labels import PseudoLabels, count_pseudo_labels
from im_bench.errors import ImBenchError
from im_bench.files import read_json

Part = Literal["labelled", "all", "val", "test"]
Batch = dict[str, Tensor]

_PIXELS_PER_BATCH = 1 << 22


@DATASETS.register_module()
class ArrayDataset(Dataset[Batch]):
    """One part of a packed data set, with pseudo-labelled images added if given.

    An item is ``{"inputs": image, "data_samples": labels}``, uint8 (H, W, C) and (H, W); a batch
    has one more axis in front. An image that was padded comes without its padding where it is
    asked for alone, as in validation and test; in training all have one size.

    Attributes:
        metainfo: ``classes``, as MMSegmentation's metrics want them.

    Args:
        data_dir: The folder ``arrays`` of a data stage.
        part: ``labelled`` (the training images that keep their labels), ``all`` (all training
            images with their labels), ``val`` or ``test``.
        pseudo_dir: The folder of a pseudo-label stage, whose images and labels are added.
        device: Where to hold the arrays. On the CPU a whole part stays memory-mapped.

    Raises:
        ImBenchError: A file is missing or broken, the part is empty, shapes do not agree, or
            ``all`` is asked for where training images have no mask.
    """

    def __init__(
        self,
        data_dir: str | Path,
        part: Part,
        pseudo_dir: str | Path | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        data_dir = Path(data_dir)
        meta = read_meta(data_dir)
        self.metainfo = {"classes": tuple(meta["classes"])}
        split = "train" if part in ("labelled", "all") else part
        images, labels = read_arrays(data_dir, split)
        if part == "all" and not has_mask(meta).all():
            raise ImBenchError(
                f"data set {meta['name']!r}: {len(meta['unmasked'])} of {len(images)} training "
                "images have no mask, and this method trains on the labels of all: leave it out, "
                "or add the masks"
            )
        self._pseudo = None if pseudo_dir is None else PseudoLabels(Path(pseudo_dir), images.shape)
        self._all_images = images  # of which pseudo-labelled ones are taken when they are asked for
        if part == "labelled":
            index = torch.as_tensor(labelled_indices(meta, data_dir), dtype=torch.int64)
            images, labels = images[index], labels[index]
        self.images, self.labels = images.to(device), labels.to(device)
        if self._pseudo is not None and self.images.device.type != "cpu":
            more_images, more_labels = self._pseudo_labelled(np.arange(len(self._pseudo)))
            self.images = torch.cat([self.images, more_images.to(device)])
            self.labels = torch.cat([self.labels, more_labels.to(device)])
            self._pseudo = None
        if not len(self):
            raise ImBenchError(
                f"{data_dir}: no images in part {part!r}: check the data set's split"
            )
        self._extents = extents(meta, split) if split == part else None

    def __len__(self) -> int:
        return len(self.images) + len(self._pseudo or ())

    def __getitem__(self, index: int) -> Batch:
        return {name: batch[0] for name, batch in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch; torch's DataLoader calls this instead of asking for single items."""
        if self._pseudo is not None and max(indices) >= len(self.images):
            return self._with_pseudo_labelled(np.asarray(indices))
        index = torch.as_tensor(indices).to(self.images.device, non_blocking=True)
        images, labels = self.images.index_select(0, index), self.labels.index_select(0, index)
        if self._extents is not None and len(indices) == 1:
            rows, columns = self._extents[indices[0]]
            images, labels = images[:, rows, columns], labels[:, rows, columns]
        return {"inputs": images, "data_samples": labels}

    def _with_pseudo_labelled(self, indices: NDArray[np.int64]) -> Batch:
        """Return a batch of which some images are pseudo-labelled."""
        pseudo = indices >= len(self.images)
        here, there = torch.from_numpy(~pseudo), torch.from_numpy(pseudo)
        images = self._all_images.new_empty((len(indices), *self._all_images.shape[1:]))
        labels = images.new_empty(images.shape[:3])
        own = torch.from_numpy(indices[~pseudo])
        images[here], labels[here] = self.images[own], self.labels[own]
        images[there], labels[there] = self._pseudo_labelled(indices[pseudo] - len(self.images))
        return {"inputs": images, "data_samples": labels}

    def _pseudo_labelled(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return pseudo-labelled images as a student sees them, and their labels, by number."""
        assert self._pseudo is not None  # noqa: S101
        labels, inconsistent = self._pseudo.kept(rows)
        images = self._all_images[torch.from_numpy(self._pseudo.indices[rows])]
        if self._pseudo.blank:
            images = images.masked_fill_(inconsistent[..., None], 0)
        return images, labels


@FUNCTIONS.register_module()
def take_batch(batch: Batch) -> Batch:
    """Collate nothing: :class:`ArrayDataset` has made a batch already."""
    return batch


def read_meta(data_dir: Path) -> dict[str, Any]:
    """Return ``meta.json`` of a folder of packed arrays.

    Raises:
        ImBenchError: It is missing or no JSON.
    """
    try:
        meta: dict[str, Any] = read_json(data_dir / "meta.json")
    except (OSError, ValueError) as error:
        raise ImBenchError(
            f"{data_dir / 'meta.json'} cannot be read ({error}): run the data stage again"
        ) from None
    return meta


def reading_of(meta: Mapping[str, Any]) -> Reading:
    """Return how the images were read, and how others for the same networks have to be."""
    said = dict(meta.get("reading", {}))
    if said.get("scale") is not None:
        said["scale"] = tuple(said["scale"])
    return Reading(**said)


def labelled_indices(meta: dict[str, Any], data_dir: Path) -> list[int]:
    """Return the positions of the labelled images among the training images.

    Raises:
        ImBenchError: A labelled name is not a training image.
    """
    position = {name: index for index, name in enumerate(meta["names"]["train"])}
    missing = [name for name in meta["labelled"] if name not in position]
    if missing:
        raise ImBenchError(
            f"{data_dir / 'meta.json'}: labelled image {missing[0]!r} is no training image: "
            "run the data stage again"
        )
    return [position[name] for name in meta["labelled"]]


def has_mask(meta: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return of which training images, labelled or not, the true labels are known, (N,)."""
    return ~np.isin(meta["names"]["train"], meta.get("unmasked", []))


def unlabelled_indices(meta: dict[str, Any], data_dir: Path) -> NDArray[np.int64]:
    """Return the positions of the training images whose labels are hidden, ascending."""
    hidden: NDArray[np.int64] = np.setdiff1d(
        np.arange(len(meta["names"]["train"])), labelled_indices(meta, data_dir)
    )
    return hidden


def training_images(data_dir: Path, part: str, pseudo_dir: Path | None) -> int:
    """Return how many images a training on a part, and maybe on pseudo-labels, sees."""
    meta = read_meta(data_dir)
    count = len(meta["labelled"] if part == "labelled" else meta["names"]["train"])
    return count + (count_pseudo_labels(pseudo_dir) if pseudo_dir else 0)


def extents(meta: Mapping[str, Any], split: str) -> list[tuple[slice, slice]] | None:
    """Return the rows and columns that each image of a split fills, or None: all of them.

    Args:
        meta: The packed data set's ``meta.json``.
        split: ``train``, ``val`` or ``test``.
    """
    if "sizes" not in meta:
        return None
    return [(slice(height), slice(width)) for width, height in meta["sizes"][split]]


def images_per_batch(meta: Mapping[str, Any], most: int) -> int:
    """Return how many images to predict at a time: at most so many, fewer where they are large.

    Images that were padded come one at a time, without their padding.
    """
    if "sizes" in meta:
        return 1
    width, height = map(int, meta["size"])
    return max(1, min(most, _PIXELS_PER_BATCH // (width * height)))


def read_arrays(data_dir: Path, split: str) -> tuple[Tensor, Tensor]:
    """Return images (N, H, W, C) and label bytes (N, H, W) of a split, memory-mapped.

    Raises:
        ImBenchError: A file is missing or broken, or the two do not fit each other.
    """
    images_file, labels_file = (data_dir / f"{split}_{what}.npy" for what in ("images", "labels"))
    images, labels = _read(images_file), _read(labels_file)
    if images.ndim != 4 or images.shape[:3] != labels.shape:
        raise ImBenchError(
            f"{labels_file} has shape {labels.shape}, which does not fit the images' "
            f"{images.shape}: run the stage that made them again"
        )
    return torch.from_numpy(images), torch.from_numpy(labels)


def _read(file: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    try:
        # Copy-on-write: torch wants memory that it could write to.
        array: np.ndarray[Any, Any] = np.load(file, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ImBenchError(
            f"{file} cannot be read ({error}): run the stage that made it again"
        ) from None
    if array.dtype != np.uint8:
        raise ImBenchError(f"{file} holds {array.dtype}, not uint8: run the data stage again")
    return array
