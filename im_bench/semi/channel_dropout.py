"""Complementary channel dropout: one strong view keeps the channels that the other one loses."""

from __future__ import annotations

import torch
from torch import Tensor


def complementary_dropout(
    features: tuple[Tensor, ...], generator: torch.Generator, undropped: float = 0.5
) -> tuple[Tensor, ...]:
    """Divide the channels of feature maps between two views of the same images.

    Maps of equal width lose the same channels, as the maps of a vision transformer do in the
    original; for others channels are drawn anew.

    Args:
        features: Maps (2 * B, C, h, w): of the first view of B images, then of the second. Widths
            and sizes may differ.
        generator: On the device of the maps.
        undropped: Share of the images, rounded down, whose maps stay as they are.

    Returns:
        Maps of the same shapes, kept channels scaled by 2.

    Source: LiheYoung/UniMatch-V2, ``model/semseg/dpt.py``.
    """
    count, device = len(features[0]) // 2, features[0].device
    order = torch.rand(count, generator=generator, device=device).argsort()
    masks: dict[int, Tensor] = {}
    for width in dict.fromkeys(each.shape[1] for each in features):
        drawn = torch.rand(count, width, generator=generator, device=device) < 0.5
        masks[width] = complementary_masks(drawn, order, undropped)
    return tuple(
        each * masks[each.shape[1]].to(each.dtype).view(2 * count, -1, 1, 1) for each in features
    )


def complementary_masks(drawn: Tensor, order: Tensor, undropped: float = 0.5) -> Tensor:
    """Return the factors of the channels of two views, float32 (2 * B, C).

    Args:
        drawn: Which channels the first view keeps, bool (B, C).
        order: A permutation of the images, int64 (B,): the first of it are not touched.
        undropped: How many, as a share that is rounded down.
    """
    first = 2.0 * drawn.float()
    untouched = order[: int(len(order) * undropped)]
    return torch.cat([each.index_fill(0, untouched, 1.0) for each in (first, 2 - first)])
