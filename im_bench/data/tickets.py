"""In which order a semi-supervised training sees labelled and unlabelled images.

Items are asked for by *tickets*, numbers that count on through all epochs. Everything random in an
item is a function of the seed and the ticket, so a training that stops and continues sees the same
batches whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS
from numpy.typing import NDArray
from torch.utils.data import Sampler

from im_bench.data.augment import mixed_seed
from im_bench.errors import ImBenchError

Partner = Literal["none", "same", "other"]
BRANCHES = ("labelled", "unlabelled", "partner")


class Ticket(NamedTuple):
    """The images of one item, by their positions; None: there is none.

    Attributes:
        labelled: Among the labelled images.
        unlabelled: Among the unlabelled images.
        other: Another unlabelled image, to paste from; the same if there is only one.
    """

    labelled: int
    unlabelled: int | None
    other: int | None


class Tickets:
    """Which images the tickets stand for.

    An epoch is one pass over the unlabelled images, in an order of its own. The labelled images are
    repeated to the same length and shuffled as well: in an epoch each occurs as often as any other,
    give or take one. Without unlabelled images an epoch is a pass over the labelled ones.

    Args:
        labelled: Number of labelled images.
        unlabelled: Number of unlabelled images.
        seed: Seed of the orders.

    Attributes:
        epoch_length: Tickets per epoch.
    """

    def __init__(self, labelled: int, unlabelled: int, seed: int) -> None:
        self._draw = (labelled, unlabelled, seed)
        self.epoch_length = unlabelled or labelled

    def __getitem__(self, number: int) -> Ticket:
        epoch, position = divmod(number, self.epoch_length)
        labelled, unlabelled, shift = _orders(*self._draw, epoch)
        if not len(unlabelled):
            return Ticket(int(labelled[position]), None, None)
        other = unlabelled[(position + shift) % len(unlabelled)]
        return Ticket(int(labelled[position]), int(unlabelled[position]), int(other))


@lru_cache(maxsize=8)
def _orders(
    labelled: int, unlabelled: int, seed: int, epoch: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    rng = np.random.default_rng([seed, epoch])
    length = unlabelled or labelled
    repeated = np.concatenate([rng.permutation(labelled) for _ in range(-(-length // labelled))])[
        :length
    ]
    shift = int(rng.integers(1, unlabelled)) if unlabelled > 1 else 0
    return rng.permutation(repeated), rng.permutation(unlabelled), shift


@DATA_SAMPLERS.register_module()
class TicketSampler(Sampler[int]):
    """The tickets of this process, without end: rank r of W takes every W-th, from r on.

    Args:
        dataset: A data set that is asked for tickets.
        seed: What the data set draws by, unless it has a seed of its own.
    """

    def __init__(self, dataset: Any, seed: int | None = None) -> None:
        self._rank, self._processes = get_dist_info()
        self._epoch_length = len(dataset)
        self._start = 0
        if dataset.seed is None:
            dataset.seed = seed

    def __iter__(self) -> Iterator[int]:
        number = self._start
        while True:
            yield number * self._processes + self._rank
            number += 1

    def __len__(self) -> int:
        """Return the tickets of this process per epoch."""
        tickets: int = -(-self._epoch_length // self._processes)
        return tickets

    def skip(self, num_samples: int) -> None:
        """Begin after the first tickets of this process; MMEngine calls this on resume."""
        self._start = num_samples


def branch_seed(seed: int, number: int, branch: str) -> int:
    """Return the seed of one branch of one item, below 2**32."""
    return mixed_seed(mixed_seed(seed, number), BRANCHES.index(branch))


def check_partner(partner: Partner, unlabelled: bool) -> Partner:
    """Return what kind of partner is asked for.

    Raises:
        ImBenchError: There is no such kind, or there are no unlabelled images.
    """
    if partner not in ("none", "same", "other"):
        raise ImBenchError(f"partner {partner!r} is unknown: use none, same or other")
    if partner != "none" and not unlabelled:
        raise ImBenchError(f"partner {partner!r} needs unlabelled images: give some")
    return partner
