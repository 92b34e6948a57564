"""Passing images through a network whole, by their centre, or in overlapping windows.

Published numbers depend on it, and every code base has its own convention; :class:`WindowOptions`
names their differences. Nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice, product
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from im_bench.errors import ImBenchError, unknown_name

Network = Callable[[Tensor], Tensor]
"""Gives logits (B, C, h, w) for images (B, C', h, w)."""

Span = tuple[int, int]
"""First pixel along an axis, and the one after the last."""

_CHOICES = {
    "mode": ("whole", "slide", "center"),
    "border": ("truncate", "shift"),
    "combine": ("probabilities", "logits"),
}


@dataclass(frozen=True)
class WindowOptions:
    """How images are passed through a network.

    UniMatch, DAW, RankMatch and iMAS slide with the defaults; UniMatch V2 has ``border="shift"``;
    U2PL and FPL average logits, U2PL with shifted windows and the stride rounded up.

    Attributes:
        mode: ``whole`` images, ``slide`` a window over them, or only a window in the ``center``
            (U2PL and UniMatch on Pascal while training).
        window: Side of the square window, in pixels; not for ``whole``. An image that is smaller
            counts as its own window.
        stride: From one window to the next, in pixels; default: two thirds of the window, rounded
            down.
        border: Windows that reach over the border are cut off there (``truncate``), or the last one
            ends at the border and keeps its size (``shift``).
        combine: What is averaged where windows overlap.
        multiple: Resize whatever enters the network to the nearest multiple of so many pixels a
            side, and its logits back (UniMatch V2: 14); None: as it is.
        batch: At most so many windows of each image in one forward pass.

    Raises:
        ImBenchError: A choice is unknown, or the numbers do not fit each other.
    """

    mode: Literal["whole", "slide", "center"] = "whole"
    window: int | None = None
    stride: int | None = None
    border: Literal["truncate", "shift"] = "truncate"
    combine: Literal["probabilities", "logits"] = "probabilities"
    multiple: int | None = None
    batch: int = 1

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise unknown_name(f"{name} of windows", str(getattr(self, name)), choices)
        for name in ("window", "stride", "multiple", "batch"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ImBenchError(f"{name} of windows is {number}: give at least 1 pixel or image")
        if (self.mode == "whole") != (self.window is None):
            raise ImBenchError(
                f"windows have mode {self.mode!r} and window {self.window}: "
                "give a window with slide and center, and none with whole"
            )
        if self.window and self.step > self.window:
            raise ImBenchError(
                f"windows of {self.window} pixels with stride {self.stride} leave gaps: "
                "give a stride of at most the window"
            )

    @property
    def step(self) -> int:
        """The stride, or its default."""
        return self.stride or max(1, 2 * (self.window or 1) // 3)


def predict_windows(
    network: Network, images: Tensor, options: WindowOptions, activate: Network
) -> Tensor:
    """Return the probabilities of images.

    Args:
        network: Gives logits of the size of what it is given; of windows too.
        images: float ``(B, C', H, W)``, as the network takes them.
        options: How they are passed through.
        activate: Turns logits into probabilities, such as
            :meth:`~im_bench.data.label_spaces.LabelSpace.activate`.

    Returns:
        float32 ``(B, C, H, W)``; in the mode ``center`` of the size of :func:`centre_crop`. The
        originals add up where this averages, which gives the same classes.

    Source: original implementations of UniMatch and UniMatch V2, ``evaluate``; U2PL, ``eval.py``.
    """
    if options.multiple is not None:
        network = _at_multiples(network, options.multiple)
    if options.window is None:
        return activate(network(images).float())
    if options.mode == "center":
        return activate(network(centre_crop(images, options.window)).float())
    if options.combine == "logits":
        return activate(_slide(lambda crops: network(crops).float(), images, options))
    return _slide(lambda crops: activate(network(crops).float()), images, options)


def centre_crop(maps: Tensor, window: int) -> Tensor:
    """Return the centre ``(..., min(H, window), min(W, window))`` of maps ``(..., H, W)``.

    Where a margin is odd, the smaller half is above and on the left.
    """
    (top, bottom), (left, right) = (_centre(side, window) for side in maps.shape[-2:])
    return maps[..., top:bottom, left:right]


def window_spans(side: int, options: WindowOptions) -> list[Span]:
    """Return where windows lie along a side of an image, in pixels; together they cover it."""
    window = options.window or side
    if options.border == "truncate":
        starts = [*range(0, side, options.step)]
    else:
        last = max(side - window, 0)
        starts = [*range(0, last, options.step), last]
    return [(start, min(start + window, side)) for start in starts]


def _slide(predict: Network, images: Tensor, options: WindowOptions) -> Tensor:
    """Return what ``predict`` gives of windows, averaged where they overlap."""
    rows, columns = (window_spans(side, options) for side in images.shape[-2:])
    total = torch.empty(0)  # until the number of channels is known
    for windows in _equal_windows(rows, columns, options.batch):
        crops = [images[..., slice(*row), slice(*column)] for row, column in windows]
        parts = predict(torch.cat(crops)).chunk(len(windows))
        if not total.numel():
            total = parts[0].new_zeros(*parts[0].shape[:2], *images.shape[-2:])
        for (row, column), part in zip(windows, parts, strict=True):
            total[..., slice(*row), slice(*column)] += part
    return total.div_(_coverage(rows, total, -2)).div_(_coverage(columns, total, -1))


def _equal_windows(
    rows: list[Span], columns: list[Span], batch: int
) -> Iterator[list[tuple[Span, Span]]]:
    """Give the windows, at most ``batch`` at a time, all of one size."""

    def size(window: tuple[Span, Span]) -> tuple[int, ...]:
        return tuple(stop - start for start, stop in window)

    for _, group in groupby(sorted(product(rows, columns), key=size), size):
        while windows := list(islice(group, batch)):
            yield windows


def _coverage(spans: list[Span], like: Tensor, axis: Literal[-2, -1]) -> Tensor:
    """Return how many windows cover each pixel along an axis, to be broadcast over the other."""
    counts = like.new_zeros(like.shape[axis])
    for start, stop in spans:
        counts[start:stop] += 1
    return counts[:, None] if axis == -2 else counts


def _centre(side: int, window: int) -> Span:
    start = max(side - window, 0) // 2
    return start, min(start + window, side)


def _at_multiples(network: Network, multiple: int) -> Network:
    """Return the network, behind a resizing to the nearest multiple and before one back."""

    def resized(images: Tensor) -> Tensor:
        size = list(images.shape[-2:])
        nearest = [max(1, int(side / multiple + 0.5)) * multiple for side in size]
        return _resize(network(_resize(images, nearest)).float(), size)

    return resized


def _resize(maps: Tensor, size: list[int]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=True)
