"""Seeds of the processes of one training."""

from __future__ import annotations

from mmengine.dist import get_rank

_STRIDE = 1_000_003
"""Between the seeds of two processes."""


def process_seed(seed: int) -> int:
    """Return a seed of this process of a distributed training, lest all draw the same views."""
    return seed + int(get_rank()) * _STRIDE
