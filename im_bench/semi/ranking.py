"""How pixels rank agents, and a loss between two rankings. None waits for the device."""

from __future__ import annotations

from itertools import permutations
from math import factorial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from im_bench.semi.agents import gather_pixels

_TINY = 1e-10
_ROWS = 1 << 16
"""Pixels of a batch that are compared with their agents at a time.

Those of 16 crops of 801 at stride 16 are fewer: only finer maps are divided.
"""


def rank_probabilities(probabilities: Tensor, ranked: Tensor) -> Tensor:
    """Return how probable each order of some references is (Plackett-Luce).

    An order draws one reference after the other, each with its share of what is left.

    Args:
        probabilities: Of N references, (..., N); those that are not ranked do not count.
        ranked: Which K references are ranked, int64 (..., K).

    Returns:
        (..., K!), by order, lexicographically: the first is that of ``ranked``.

    Source: mai556/RankMatch, ``prob2rank``.
    """
    count = ranked.shape[-1]
    orders = torch.tensor(list(permutations(range(count)))).to(ranked.device, non_blocking=True)
    chosen = probabilities.gather(-1, ranked)
    drawn = [chosen.index_select(-1, places) for places in orders.T]
    left, result = drawn[-1], drawn[-1] / (drawn[-1] + _TINY)
    for each in reversed(drawn[:-1]):
        left = left + each
        result = result * (each / (left + _TINY))
    return result


def rank_loss(
    weak: Tensor,
    strong: Tensor,
    agents: Tensor,
    ranked: int = 4,
    teaching: Tensor | None = None,
    rows: int | None = _ROWS,
) -> Tensor:
    """Return how far the strong view's ranking of the agents is from the weak view's.

    Each pixel of a view has a distribution over the view's own agents, a softmax of dot products.
    Of the agents that are most probable in the weak view, the two views' distributions over all
    orders are compared by the Kullback-Leibler divergence. The mean is over pixels and orders.

    Memory holds the distributions of so many pixels at a time; they are computed again for the
    gradient, which is the same.

    Args:
        weak: Features of the weak view, (B, D, h, w); no gradient flows into them.
        strong: Features of the strong view, (B, D, h, w).
        agents: Positions of the agents, int64 (B, N).
        ranked: How many agents are ranked; all if there are fewer.
        teaching: Pixels that add to the mean, bool (B, h, w), or None for all; the mean is over all
            pixels either way.
        rows: Pixels of the batch at a time, or None for all.

    Returns:
        A float32 scalar.

    Source: mai556/RankMatch, ``corr_loss``.
    """
    batch, pixels, ranked = len(weak), weak[0, 0].numel(), min(ranked, agents.shape[1])
    with torch.autocast(weak.device.type, enabled=False):
        weak, strong = weak.detach().float().flatten(2), strong.float().flatten(2)
        references = gather_pixels(weak, agents), gather_pixels(strong, agents)
        step = pixels if rows is None else max(1, rows // batch)
        total = strong.new_zeros(())
        nothing = (None,) * -(-pixels // step)
        parts = zip(
            torch.split(weak, step, -1),
            torch.split(strong, step, -1),
            nothing if teaching is None else torch.split(teaching.flatten(1), step, -1),
            strict=True,
        )
        for own, other, teach in parts:
            arguments = (own, other, *references, ranked, teach)
            total = total + (
                _divergence(*arguments)
                if step >= pixels
                else checkpoint(
                    _divergence, *arguments, use_reentrant=False, preserve_rng_state=False
                )
            )
    return total / (batch * pixels * factorial(ranked))


def _divergence(
    weak: Tensor,
    strong: Tensor,
    weak_agents: Tensor,
    strong_agents: Tensor,
    ranked: int,
    teaching: Tensor | None,
) -> Tensor:
    """Return the divergence summed over pixels and orders.

    Args:
        weak: (B, D, p).
        strong: (B, D, p).
        weak_agents: (B, N, D).
        strong_agents: (B, N, D).
        ranked: As in :func:`rank_loss`.
        teaching: bool (B, p), or None.
    """
    own, other = (
        torch.bmm(agents, features).softmax(1).transpose(1, 2)
        for agents, features in ((weak_agents, weak), (strong_agents, strong))
    )
    top = own.topk(ranked, dim=-1).indices
    target, given = rank_probabilities(own, top), rank_probabilities(other, top)
    divergence = F.kl_div((given + _TINY).log(), target, reduction="none").sum(-1)
    return (divergence if teaching is None else divergence.where(teaching, 0.0)).sum()
