"""Erosion and dilation by square kernels, batched, with OpenCV's conventions.

The kernel is k x k ones with its anchor at ``k // 2``, so that the window of an even kernel reaches
one pixel further up and left. What lies outside of the image neither erodes nor dilates.

Everything stays in bytes: a window is reduced by combining the map with shifted copies of itself,
twice as far each time, once along each axis. That is a few passes of the fastest instruction there
is, where max-pooling needs floating point.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from im_bench.errors import ImBenchError

Combine = Callable[[Tensor, Tensor], Tensor]


def dilate(mask: Tensor, k: int) -> Tensor:
    """Return ``mask``, bool ``(..., H, W)``, dilated once by a k x k kernel; k of 0 or 1: as is."""
    return _combine_window(mask, k, torch.bitwise_or)


def erode(mask: Tensor, k: int) -> Tensor:
    """Return ``mask``, bool ``(..., H, W)``, eroded once by a k x k kernel; k of 0 or 1: as is."""
    return ~dilate(~mask, k)


def dilate_classes(labels: Tensor, k: int = 3, iterations: int = 1) -> Tensor:
    """Return a class map in which every class but 0 has grown; the higher class wins.

    The original dilates each class of the undilated map and paints them in ascending order: what
    is seen in the end is the highest class within reach.

    Args:
        labels: uint8 ``(..., H, W)`` class indices.
        k: Side of the kernel.
        iterations: How often.

    Source: original implementation, ``dilate_mask``.
    """
    for _ in range(iterations):
        labels = _combine_window(labels, k, torch.maximum)
    return labels


def dilate_bits(labels: Tensor, k: int = 3, bits: int = 0xFF) -> Tensor:
    """Return bit masks in which every class has grown by itself.

    Args:
        labels: uint8 ``(..., H, W)`` bit masks.
        k: Side of the kernel.
        bits: The classes that grow, as a bit mask; the others stay as they are.
    """
    return labels | _combine_window(labels & bits, k, torch.bitwise_or)


def _combine_window(values: Tensor, k: int, combine: Combine) -> Tensor:
    """Return ``combine`` over the k x k window of each pixel; 0 must be its neutral element."""
    if k < 0:
        raise ImBenchError(f"the side of a kernel must not be negative but is {k}")
    if k < 2:
        return values
    before, after = k // 2, k - 1 - k // 2
    values = F.pad(values, (before, after, before, after))
    return _combine_run(_combine_run(values, k, combine, -2), k, combine, -1)


def _combine_run(values: Tensor, k: int, combine: Combine, dim: int) -> Tensor:
    """Return ``combine`` over each run of k values along ``dim``, which gets k - 1 shorter."""
    reach = 1
    while reach < k:
        step = min(reach, k - reach)
        length = values.shape[dim] - step
        values = combine(values.narrow(dim, 0, length), values.narrow(dim, step, length))
        reach += step
    return values
