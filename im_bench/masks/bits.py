"""Bit masks: the one byte in which a multi-label pixel keeps up to eight classes."""

from __future__ import annotations

import torch
from torch import Tensor


def pack_bits(channels: Tensor) -> Tensor:
    """Return one byte per pixel from one boolean map per class.

    Args:
        channels: bool ``(..., C, H, W)`` with C at most 8.

    Returns:
        uint8 ``(..., H, W)``; bit ``c`` is set where ``channels[..., c, :, :]`` is.
    """
    shifts = torch.arange(channels.shape[-3], dtype=torch.uint8, device=channels.device)
    return (channels.to(torch.uint8) << shifts[:, None, None]).sum(-3, dtype=torch.uint8)


def unpack_bits(labels: Tensor, classes: int = 8) -> Tensor:
    """Return one boolean map per class: the inverse of :func:`pack_bits`.

    Args:
        labels: uint8 ``(..., H, W)`` bit masks.
        classes: How many bits to read, from the lowest; at most 8.

    Returns:
        bool ``(..., C, H, W)``.
    """
    shifts = torch.arange(classes, dtype=torch.uint8, device=labels.device)
    return ((labels.unsqueeze(-3) >> shifts[:, None, None]) & 1).bool()


def count_bits(labels: Tensor) -> Tensor:
    """Return how many bits of each uint8 are set, as uint8 of the same shape."""
    # Neighbouring counts are added in parallel inside the byte: pairs, then nibbles, then halves.
    pairs = labels - ((labels >> 1) & 0x55)
    nibbles = (pairs & 0x33) + ((pairs >> 2) & 0x33)
    return (nibbles + (nibbles >> 4)) & 0x0F
