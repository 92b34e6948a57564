"""Validation in several processes: each takes whole batches, the same as one process makes."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import BatchSampler, Sampler


@DATA_SAMPLERS.register_module()
class WholeSampler(Sampler[int]):
    """All positions of a data set in order, in every process.

    Args:
        dataset: The data set.
        seed: Not used: nothing is drawn.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        self._count = len(dataset)

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._count))

    def __len__(self) -> int:
        return self._count


@DATA_SAMPLERS.register_module()
class RankBatchSampler(BatchSampler):
    """The batches of this process: rank r of W takes every W-th, from r on.

    So predictions are the same to the bit on any number of processes, and results that are gathered
    in turns stand in the order of one process.

    Args:
        sampler: Gives all positions in every process.
        batch_size: Images per batch.
        drop_last: Whether to leave out an incomplete batch.
    """

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool = False) -> None:
        super().__init__(sampler, batch_size, drop_last)
        self._rank, self._processes = get_dist_info()

    def __iter__(self) -> Iterator[list[int]]:
        for number, batch in enumerate(super().__iter__()):
            if number % self._processes == self._rank:
                yield batch

    def __len__(self) -> int:
        return len(range(self._rank, super().__len__(), self._processes))
