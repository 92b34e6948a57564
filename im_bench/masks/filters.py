"""Which images are worth keeping as pseudo-labels."""

from __future__ import annotations

import torch
from torch import Tensor

from im_bench.masks.consensus import Space, check_space, foreground_sizes


def agreed_foreground(labels: Tensor, inconsistent: Tensor) -> Tensor:
    """Return which images have more agreed foreground than inconsistency (and so, some).

    Args:
        labels: uint8 ``(B, H, W)``, the consensus, before any morphology or blocking.
        inconsistent: bool ``(B, H, W)``, the mask, before any morphology.

    Returns:
        bool ``(B,)``.

    Source: original implementation, ``filter_bad_predictions`` (ISIC 2018).
    """
    return foreground_sizes(labels) > inconsistent.sum((1, 2))


def same_classes(predictions: Tensor, space: Space) -> Tensor:
    """Return for which images all teachers see the same set of classes, wherever they see them.

    Args:
        predictions: uint8 ``(K, B, H, W)`` label bytes.
        space: The label space.

    Returns:
        bool ``(B,)``.

    Raises:
        ImBenchError: If the space is unknown.

    Source: original implementation, ``filter_unequal_class_pred``.
    """
    device = predictions.device
    # Which bytes each teacher uses on each image: a table of 256 truths, whatever the space.
    seen = torch.zeros(*predictions.shape[:2], 256, dtype=torch.bool, device=device)
    seen = seen.scatter(2, predictions.flatten(2).long(), True)
    if check_space(space) == "multilabel":
        bytes_, bits = torch.arange(256, device=device), torch.arange(8, device=device)
        classes_of_bytes = (bytes_[:, None] >> bits & 1).bool()
        seen = (seen.unsqueeze(-1) & classes_of_bytes).any(2)
    return (seen == seen[0]).all(2).all(0)
