"""Labelled and unlabelled images side by side, from packed arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmseg.registry import DATASETS
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from im_bench.data.arrays import extents, labelled_indices, read_arrays, read_meta
from im_bench.data.description import IGNORED
from im_bench.data.pseudo_labels import PseudoLabels
from im_bench.data.tickets import Partner, Ticket, Tickets, branch_seed, check_partner
from im_bench.data.transforms import check_crop, draw_scale_crop
from im_bench.errors import ImBenchError

Raw = dict[str, dict[str, Any]]


@DATASETS.register_module()
class SemiArrayDataset(Dataset[Raw]):
    """The labelled and the other training images of a packed data set, asked for by ticket.

    Gives raw batches as :class:`~im_bench.data.semi.SemiDataset` does, RGB or grey, and gives them
    whole: collate with ``take_batch``. Without a crop a batch is one indexing operation per branch,
    and worker processes would only cost time. With one, views are cut out of memory-mapped files,
    of which no more is read than they show: let workers do that. What was padded when it was packed
    is cut as if it had not been; as a whole image it is valid where it was not padded.

    Attributes:
        metainfo: ``classes``.
        seed: Of all that is drawn; None until the sampler sets it counts as 0.

    Args:
        data_dir: The folder ``arrays`` of a data stage.
        pseudo_dir: The folder of a pseudo-label stage. An image that it did not keep is
            inconsistent everywhere.
        unlabelled: Whether there are unlabelled images in a batch: all that are not labelled.
        partner: Whether a batch has a second view of the ``same`` unlabelled images, or of
            ``other`` ones.
        crop: Width and height of random views, or None for whole images.
        ratio: Range of the random scale before the crop.
        seed: See above.
        device: Where to hold whole images; views are always cut on the CPU.

    Raises:
        ImBenchError: A file is missing or broken, no image is labelled or unlabelled, or an
            argument cannot be.
    """

    def __init__(
        self,
        data_dir: str | Path,
        pseudo_dir: str | Path | None = None,
        unlabelled: bool = True,
        partner: Partner = "none",
        crop: int | Sequence[int] | None = None,
        ratio: Sequence[float] = (0.5, 2.0),
        seed: int | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        data_dir = Path(data_dir)
        meta = read_meta(data_dir)
        self.metainfo = {"classes": tuple(meta["classes"])}
        self.partner = check_partner(partner, unlabelled)
        self.seed = seed
        self._crop = None if crop is None else check_crop(crop, ratio)
        # A multi-label byte cannot be ignored: padding shows no class.
        self._label_pad = 0 if meta["space"] == "multilabel" else IGNORED
        self._images, self._labels = read_arrays(data_dir, "train")
        self._extents = extents(meta, "train")
        self._labelled = np.array(labelled_indices(meta, data_dir), np.int64)
        rest = np.setdiff1d(np.arange(len(self._images)), self._labelled)
        self._unlabelled = rest if unlabelled else rest[:0]
        if not len(self._labelled) or (unlabelled and not len(rest)):
            kind = "unlabelled" if len(self._labelled) else "labelled"
            raise ImBenchError(
                f"{data_dir}: no training image is {kind}: change the share that is labelled"
            )
        self._pseudo: PseudoLabels | None = None
        self._masks: tuple[Tensor, Tensor] | None = None  # of whole images, where these are
        if pseudo_dir is not None and unlabelled:
            self._pseudo = PseudoLabels(Path(pseudo_dir), self._images.shape)
            if not self._crop and torch.device(device).type != "cpu":
                agreed, inconsistent = self._pseudo.at(np.arange(len(self._images)))
                self._masks = agreed.to(device), inconsistent.to(device)
        if not self._crop:
            self._images, self._labels = self._images.to(device), self._labels.to(device)

    @property
    def tickets(self) -> Tickets:
        """Which images tickets stand for."""
        return Tickets(len(self._labelled), len(self._unlabelled), self.seed or 0)

    def __len__(self) -> int:
        """Return the tickets per epoch."""
        return self.tickets.epoch_length

    def __getitem__(self, number: int) -> Raw:
        """Return a raw batch of one."""
        return self.__getitems__([number])

    def __getitems__(self, numbers: Sequence[int]) -> Raw:
        """Return a raw batch; torch's DataLoader calls this instead of asking for single items."""
        tickets = self.tickets
        branches = [self._positions(tickets[number]) for number in numbers]
        if self._crop is None:
            return self._whole({b: [each[b] for each in branches] for b in branches[0]})
        batch: Raw = default_collate([*map(self._views, numbers, branches)])
        return batch

    def _positions(self, ticket: Ticket) -> dict[str, int]:
        """Return where the image of each branch is among the training images."""
        positions = {"labelled": int(self._labelled[ticket.labelled])}
        if ticket.unlabelled is not None and ticket.other is not None:
            positions["unlabelled"] = int(self._unlabelled[ticket.unlabelled])
            if self.partner != "none":
                partner = ticket.other if self.partner == "other" else ticket.unlabelled
                positions["partner"] = int(self._unlabelled[partner])
        return positions

    def _whole(self, positions: dict[str, list[int]]) -> Raw:
        batch: Raw = {"inputs": {}, "data_samples": {}}
        for branch, numbers in positions.items():
            index = torch.as_tensor(numbers).to(self._images.device, non_blocking=True)
            batch["inputs"][branch] = self._images.index_select(0, index)
            if branch == "labelled":
                batch["data_samples"][branch] = self._labels.index_select(0, index)
                continue
            valid = self._valid(numbers).to(index.device, non_blocking=True)
            samples = {"valid": valid}
            if self._pseudo is not None:
                if self._masks is None:
                    consensus, inconsistent = self._pseudo.at(numbers)
                else:
                    consensus, inconsistent = (each.index_select(0, index) for each in self._masks)
                samples |= {
                    "consensus": consensus.masked_fill(~valid, 0),
                    "inconsistent": inconsistent & valid,
                }
            batch["data_samples"][branch] = samples
        return batch

    def _valid(self, positions: Sequence[int]) -> Tensor:
        """Return where whole images are not padding, bool (B, H, W)."""
        shape = (len(positions), *self._labels.shape[1:])
        if self._extents is None:
            return torch.ones(shape, dtype=torch.bool)
        valid = torch.zeros(shape, dtype=torch.bool)
        for row, position in zip(valid, positions, strict=True):
            row[self._extents[position]] = True
        return valid

    def _views(self, number: int, positions: dict[str, int]) -> Raw:
        """Return one item: a random view per branch."""
        assert self._crop is not None  # noqa: S101
        crop, ratio = self._crop
        item: Raw = {"inputs": {}, "data_samples": {}}
        for branch, position in positions.items():
            rng = np.random.default_rng(branch_seed(self.seed or 0, number, branch))
            filled = self._extents[position] if self._extents else (slice(None), slice(None))
            image = self._images[position][filled].numpy()
            draw = draw_scale_crop(rng, (image.shape[1], image.shape[0]), crop, ratio)
            item["inputs"][branch] = torch.from_numpy(draw.image(image))
            if branch == "labelled":
                labels = draw.map(self._labels[position][filled].numpy(), self._label_pad)
                item["data_samples"][branch] = torch.from_numpy(labels)
                continue
            maps = {"valid": draw.valid()}
            if self._pseudo is not None:
                consensus, inconsistent = (each[0] for each in self._pseudo.at([position]))
                maps["consensus"] = draw.map(consensus[filled].numpy(), 0)
                maps["inconsistent"] = draw.map(inconsistent[filled].numpy(), 0)
            item["data_samples"][branch] = {
                name: torch.from_numpy(each) for name, each in maps.items()
            }
        return item
