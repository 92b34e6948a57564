"""What two networks of different architecture learn from each other beside hard labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Distance = Literal["cosine", "mse"]


class Projection(nn.Module):
    """Bring the last feature maps of one network to the widths of another network's.

    Args:
        before: Channels of the one network's maps.
        after: Channels of the other's. Maps are paired from the last on; those in front of as many
            as both have, or as ``levels``, are not used.
        levels: How many of the last maps are projected.
        layers: 1x1 convolutions of each projection, with ReLU between them.
    """

    def __init__(
        self, before: Sequence[int], after: Sequence[int], levels: int = 1, layers: int = 1
    ) -> None:
        super().__init__()
        self.levels = min(levels, len(before), len(after))
        pairs = zip(before[-self.levels :], after[-self.levels :], strict=True)
        self.projections = nn.ModuleList(_pointwise(*pair, layers) for pair in pairs)

    def forward(
        self, maps: Sequence[Tensor], other: Sequence[Tensor], follows: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        """Return pairs of float32 maps of one shape: projected ones, and the other network's.

        Args:
            maps: Of the one network.
            other: Of the other network. Their size may differ.
            follows: Whether gradients flow into the other network, too.
        """
        pairs = []
        with torch.autocast(maps[0].device.type, enabled=False):
            for project, mine, theirs in zip(
                self.projections, maps[-self.levels :], other[-self.levels :], strict=True
            ):
                target = (theirs if follows else theirs.detach()).float()
                projected = project(mine.float())
                if projected.shape[-2:] != target.shape[-2:]:
                    projected = F.interpolate(
                        projected, target.shape[-2:], mode="bilinear", align_corners=False
                    )
                pairs.append((projected, target))
        return pairs


def feature_loss(
    pairs: Sequence[tuple[Tensor, Tensor]], kept: Tensor, valid: Tensor, distance: Distance
) -> Tensor:
    """Return how far projected maps are from their targets, a scalar.

    Args:
        pairs: Of :class:`Projection`.
        kept: Which pixels of the images count, bool (B, H, W); a place in a map counts by the share
            of its pixels.
        valid: Which pixels the denominator counts, bool (B, H, W).
        distance: 1 minus the cosine of the feature vectors, or their mean squared difference.
    """
    losses = []
    for projected, target in pairs:
        if distance == "cosine":
            each = 1 - F.cosine_similarity(projected, target, dim=1, eps=1e-6)
        else:
            each = (projected - target).square().mean(1)
        size = each.shape[-2:]
        weight, total = (
            F.interpolate(mask.float().unsqueeze(1), size, mode="area").squeeze(1)
            for mask in (kept & valid, valid)
        )
        losses.append((each * weight).sum() / total.sum().clamp(min=1e-6))
    return torch.stack(losses).mean()


def divergence(logits: Tensor, target: Tensor, temperature: float, follows: bool = False) -> Tensor:
    """Return the Kullback-Leibler divergence from what another network says, float32 (B, H, W).

    Args:
        logits: Of softmaxes, (B, K, H, W).
        target: The other network's.
        temperature: Divides both; its square multiplies the divergence, so that gradients keep
            their size.
        follows: Whether gradients flow into the target, too.
    """
    mine = (logits.float() / temperature).log_softmax(1)
    theirs = target if follows else target.detach()
    theirs = (theirs.float() / temperature).log_softmax(1)
    each = F.kl_div(mine, theirs, reduction="none", log_target=True)
    return each.sum(1) * temperature**2


def _pointwise(before: int, after: int, layers: int) -> nn.Sequential:
    first: list[nn.Module] = [nn.Conv2d(before, after, 1)]
    for _ in range(layers - 1):
        first += [nn.ReLU(), nn.Conv2d(after, after, 1)]
    return nn.Sequential(*first)
