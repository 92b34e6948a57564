"""Labelled and unlabelled images side by side, from data sets of MMSegmentation."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import mmcv.transforms
import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.registry import FUNCTIONS
from mmseg.registry import DATASETS
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from im_bench.data.description import IGNORED
from im_bench.data.label_maps import UNDECIDED, image_files
from im_bench.data.mmseg_datasets import build_dataset, check_labels, files_of, loading
from im_bench.data.tickets import Partner, Ticket, Tickets, branch_seed, check_partner
from im_bench.data.transforms import (
    BlankAnnotations,
    LoadPseudoLabels,
    read_pseudo_labels,
    reads_pseudo_labels,
    transforms_of,
)
from im_bench.errors import ImBenchError

Raw = dict[str, dict[str, Any]]
Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]

_LOADERS = (
    mmcv.transforms.LoadImageFromFile,
    mmcv.transforms.LoadAnnotations,
    BlankAnnotations,
    LoadPseudoLabels,
)
"""What begins a pipeline without drawing anything."""


@DATASETS.register_module()
class SemiDataset(Dataset[Raw]):
    """A labelled and an unlabelled data set of MMSegmentation, asked for by ticket.

    An item is one image of a raw batch, which is::

        {"inputs": {"labelled": uint8 (B, H, W, C), "unlabelled": ..., "partner": ...},
         "data_samples": {"labelled": uint8 (B, H, W),
                          "unlabelled": {"valid": bool (B, H, W), "consensus": uint8,
                                         "inconsistent": bool}, "partner": {...}}}

    with ``consensus`` and ``inconsistent`` where there are stored pseudo-labels, and ``partner``
    where it is asked for. Channels are in the order in which the pipeline leaves them: BGR with
    ``LoadImageFromFile``. A pipeline begins with ``LoadImageFromFile``, then ``LoadAnnotations``
    or, for unlabelled images, ``BlankAnnotations`` or ``LoadPseudoLabels``, and ends with views
    of one size; ``PackSegInputs`` may follow.

    Attributes:
        label_count: How many classes labels may name, from 0; None: any. What trains says so.
        metainfo: That of the labelled data set.
        seed: Of all that is drawn; None until :class:`TicketSampler` sets it counts as 0.

    Args:
        labelled: Config of the labelled data set.
        unlabelled: Config of the unlabelled one, or None.
        partner: Whether an item has a second view of the ``same`` unlabelled image, cropped anew,
            or of an ``other`` one.
        seed: See above.

    Raises:
        ImBenchError: A data set is empty, or a partner is asked for without unlabelled images.
    """

    def __init__(
        self,
        labelled: dict[str, Any],
        unlabelled: dict[str, Any] | None = None,
        partner: Partner = "none",
        seed: int | None = None,
    ) -> None:
        self.labelled = build_dataset("labelled", labelled)
        self.unlabelled = None if unlabelled is None else build_dataset("unlabelled", unlabelled)
        self.partner = check_partner(partner, self.unlabelled is not None)
        self.metainfo = self.labelled.metainfo
        self.label_count: int | None = None
        self.seed = seed

    @property
    def tickets(self) -> Tickets:
        """Which images tickets stand for."""
        unlabelled = 0 if self.unlabelled is None else len(self.unlabelled)
        return Tickets(len(self.labelled), unlabelled, self.seed or 0)

    def __len__(self) -> int:
        """Return the tickets per epoch."""
        return self.tickets.epoch_length

    def __getitem__(self, number: int) -> Raw:
        ticket = self.tickets[number]
        seeds = partial(branch_seed, self.seed or 0, number)
        item: Raw = {"inputs": {}, "data_samples": {}}
        [(image, labels)] = _views(self.labelled, ticket.labelled, [seeds("labelled")])
        check_labels(labels, self.label_count, self.labelled.get_data_info(ticket.labelled))
        item["inputs"]["labelled"] = torch.from_numpy(image)
        item["data_samples"]["labelled"] = torch.from_numpy(labels)
        stored = self.has_pseudo_labels
        for branch, (image, labels) in self._unlabelled_views(ticket, seeds).items():
            item["inputs"][branch] = torch.from_numpy(image)
            item["data_samples"][branch] = _decoded(torch.from_numpy(labels), stored)
        return item

    def _unlabelled_views(self, ticket: Ticket, seeds: Callable[[str], int]) -> dict[str, Pair]:
        if ticket.unlabelled is None or ticket.other is None:
            return {}
        branches = ["unlabelled", "partner"] if self.partner == "same" else ["unlabelled"]
        views = _views(self.unlabelled, ticket.unlabelled, [*map(seeds, branches)])
        if self.partner == "other":
            branches.append("partner")
            views += _views(self.unlabelled, ticket.other, [seeds("partner")])
        return dict(zip(branches, views, strict=True))

    @property
    def has_pseudo_labels(self) -> bool:
        """Whether unlabelled images come with stored pseudo-labels."""
        return reads_pseudo_labels(self.unlabelled)

    def set_pseudo_labels(self, folder: str | Path) -> None:
        """Take pseudo-labels from a folder from now on; see :class:`LoadPseudoLabels`.

        Worker processes that run already do not learn of it.

        Raises:
            ImBenchError: The pipeline of the unlabelled images has no place for them.
        """
        read_pseudo_labels(self.unlabelled, folder)

    def unlabelled_files(self) -> list[str]:
        """Return the unlabelled image files, as the data set names them, each once."""
        return [] if self.unlabelled is None else image_files(self.unlabelled)


@FUNCTIONS.register_module()
def collate_semi(items: Sequence[Raw]) -> Raw:
    """Stack items to a raw batch.

    Raises:
        ImBenchError: Their views differ in size.
    """
    for branch in items[0]["inputs"]:
        shapes = sorted({tuple(item["inputs"][branch].shape) for item in items})
        if len(shapes) > 1:
            raise ImBenchError(
                f"the {branch} images of a batch have the shapes {shapes[0]} and {shapes[1]}: end "
                "their pipeline with a crop, such as RandomScaleCrop"
            )
    batch: Raw = default_collate(list(items))
    return batch


def _decoded(labels: Tensor, stored: bool) -> dict[str, Tensor]:
    """Return what the map of an unlabelled image says."""
    valid = labels != IGNORED
    if not stored:
        return {"valid": valid}
    inconsistent = labels == UNDECIDED
    # Where there is no consensus any class will do, as long as it is one.
    return {
        "valid": valid,
        "consensus": labels.masked_fill(inconsistent | ~valid, 0),
        "inconsistent": inconsistent,
    }


def _views(dataset: Any, index: int, seeds: Sequence[int]) -> list[Pair]:
    """Return one random view per seed; the image is read and decoded once."""
    transforms = transforms_of(dataset)
    loaders = 0
    while loaders < len(transforms) and isinstance(transforms[loaders], _LOADERS):
        loaders += 1
    if not loaders:  # a wrapper, or a data set of another kind
        return [_seeded_view(dataset.__getitem__, index, seed) for seed in seeds]
    loaded = _loaded(transforms[:loaders], dataset.get_data_info(index))
    view = Compose(transforms[loaders:])
    last = len(seeds) - 1
    return [
        _seeded_view(view, loaded if number == last else deepcopy(loaded), seed)
        for number, seed in enumerate(seeds)
    ]


def _loaded(steps: Sequence[Any], info: dict[str, Any]) -> Any:
    """Return an image and its map as they are in their files.

    Raises:
        ImBenchError: A file is missing or damaged, the image has other than 8 bits, or the map is
            not one of that image.
    """
    with loading(info):
        loaded: Any = Compose(steps)(info)
    size, labels = loaded["img"].shape[:2], loaded.get("gt_seg_map")
    if loaded["img"].dtype != np.uint8:
        raise ImBenchError(
            f"image {files_of(info)} is loaded as {loaded['img'].dtype}: scale it to 8 bits per "
            "channel, and load it as such"
        )
    if labels is not None and labels.shape != size:
        raise ImBenchError(
            f"image {files_of(info)} has the size {size}, its labels {labels.shape} (rows, "
            "columns): give labels of one channel and of the image's size"
        )
    return loaded


def _seeded_view(function: Any, argument: Any, seed: int) -> Pair:
    with seeded(seed):
        return _pixels(function(argument))


def _pixels(results: Any) -> Pair:
    """Return image (H, W, C) and map (H, W) from what a pipeline made, packed or not."""
    if "inputs" in results:
        image = results["inputs"].permute(1, 2, 0).contiguous().numpy()
        labels = results["data_samples"].gt_sem_seg.data[0].to(torch.uint8).numpy()
        return image, labels
    return np.ascontiguousarray(results["img"]), np.ascontiguousarray(results["gt_seg_map"])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators that transforms draw from, and restore them afterwards.

    Not by ``torch.manual_seed``, which would also seed the devices.
    """
    python, numpy, pytorch = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(pytorch)
