"""Taking inconsistent pixels away: from the image, from the label, or from both."""

from __future__ import annotations

from torch import Tensor


def block_input(images: Tensor, inconsistent: Tensor, fill: float = 0) -> Tensor:
    """Return the images with their inconsistent pixels blanked.

    Args:
        images: uint8 or float ``(B, C, H, W)``.
        inconsistent: bool ``(B, H, W)``.
        fill: What a blanked pixel becomes. 0 is black before normalisation, as in the original, and
            the mean colour after it.
    """
    return images.masked_fill(inconsistent.unsqueeze(1), fill)


def block_output(labels: Tensor, inconsistent: Tensor, value: int = 0) -> Tensor:
    """Return the labels with their inconsistent pixels replaced.

    Args:
        labels: uint8 ``(B, H, W)`` label bytes.
        inconsistent: bool ``(B, H, W)``.
        value: What a replaced label becomes: 0 (background or void, the original from scratch), or
            255 (ignored by the loss; not for multi-label bytes, in which 255 is all classes).
    """
    return labels.masked_fill(inconsistent, value)
