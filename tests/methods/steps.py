"""Single steps of methods on tiny networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from im_bench.semi.step import Clock


def losses_of(model: Any, raw: dict[str, Any], iteration: int = 0) -> dict[str, Tensor]:
    """Return what a step gives: always the same for the same model, batch and iteration.

    It moves BatchNorm's statistics.
    """
    torch.manual_seed(iteration)
    model.clock = Clock(iteration, iterations=10, epoch_length=5)
    model.train()
    found: dict[str, Tensor] = model(**model.data_preprocessor(raw, True), mode="loss")
    return found


def total(losses: dict[str, Tensor]) -> Tensor:
    """Return what is minimised."""
    return torch.stack([value for name, value in losses.items() if "loss" in name]).sum()


def keep_everything(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a batch with Inconsistency Masks that are empty."""
    for branch in ("unlabelled", "partner"):
        shape = raw["inputs"][branch].shape[:3]
        raw["data_samples"][branch] |= {
            "consensus": torch.zeros(shape, dtype=torch.uint8),
            "inconsistent": torch.zeros(shape, dtype=torch.bool),
        }
    return raw
