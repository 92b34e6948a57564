"""Exponential moving averages of networks."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def averaged_copy(module: nn.Module) -> nn.Module:
    """Return a frozen copy in evaluation mode, where an average starts."""
    return copy.deepcopy(module).requires_grad_(False).eval()


@torch.no_grad()
def update_average(
    average: nn.Module, module: nn.Module, decay: float, buffers: bool = True
) -> None:
    """Move an average towards a module: ``average * decay + module * (1 - decay)``.

    Args:
        average: Of the same architecture; changed in place.
        module: What it follows.
        decay: 0 copies, 1 changes nothing.
        buffers: Whether floating-point buffers, such as BatchNorm statistics, are averaged too and
            the others copied; otherwise buffers are left alone.
    """
    mine: list[Tensor] = list(average.parameters())
    theirs: list[Tensor] = list(module.parameters())
    if buffers:
        for own, other in zip(average.buffers(), module.buffers(), strict=True):
            if own.is_floating_point():
                mine.append(own)
                theirs.append(other)
            else:
                own.copy_(other)
    if mine:
        torch._foreach_mul_(mine, decay)
        torch._foreach_add_(mine, theirs, alpha=1 - decay)
