"""Where teachers agree, and where they do not: the core of Inconsistency Masks."""

from __future__ import annotations

from functools import reduce
from typing import Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor

from im_bench.errors import ImBenchError, unknown_name
from im_bench.masks.bits import count_bits

Space = Literal["binary", "multiclass", "multilabel"]
"""How a label byte is read: 0 or 1, a class index, or one bit per class."""


class Consensus(NamedTuple):
    """What K teachers say about B images.

    Attributes:
        labels: uint8 ``(B, H, W)``, what all teachers say; 0 where they do not agree (multi-label:
            the classes that all of them see).
        inconsistent: bool ``(B, H, W)``, the inconsistency mask: at least two teachers differ.
    """

    labels: Tensor
    inconsistent: Tensor


def consensus(predictions: Tensor, space: Space) -> Consensus:
    """Return the agreed labels and the inconsistency mask of K teachers.

    The originals sum binary votes and look for a sum between 0 and K, compare class maps with the
    first teacher's, and take the union of one binary mask per channel for multi-label data; all
    three are "some bit of the label byte is not the same for all teachers".

    Args:
        predictions: uint8 ``(K, B, H, W)``, the label bytes of each teacher; none is 255 (ignored).
        space: The label space of the bytes.

    Raises:
        ImBenchError: If the space is unknown or the predictions have another shape or type.

    Source: original implementation, ``get_im_prediction_{binary,multiclass,hela}``.
    """
    agreed, disputed = _split_bits(predictions, space)
    inconsistent = disputed != 0
    # Bits that two classes share mean nothing: a class index survives whole or not at all.
    labels = agreed if space == "multilabel" else agreed * ~inconsistent
    return Consensus(labels, inconsistent)


def inconsistent_sizes(predictions: Tensor, space: Space) -> Tensor:
    """Return the size of each image's inconsistency, as the originals count it.

    Args:
        predictions: uint8 ``(K, B, H, W)`` label bytes.
        space: The label space. For multi-label bytes a pixel counts once per class that is
            disputed, so that the size can exceed the number of inconsistent pixels.

    Returns:
        int64 ``(B,)``.

    Raises:
        ImBenchError: As :func:`consensus`.
    """
    _, disputed = _split_bits(predictions, space)
    counts = count_bits(disputed) if space == "multilabel" else disputed != 0
    return counts.sum((1, 2))


def foreground_sizes(labels: Tensor) -> Tensor:
    """Return the number of pixels with a label other than 0 in each image, int64 ``(B,)``."""
    return (labels != 0).sum((1, 2))


def deviating(predictions: Tensor, factor: float = 1.0) -> Tensor:
    """Return the inconsistency mask of regressed maps, such as depth.

    Args:
        predictions: float ``(K, B, H, W)``.
        factor: How many times the image's mean deviation a pixel may deviate.

    Returns:
        bool ``(B, H, W)``: the standard deviation over teachers (population, not sample) exceeds
        ``factor`` times its mean over the image.

    Source: original implementation, ``get_im_prediction_depth_map``.
    """
    deviation = predictions.std(0, correction=0)
    return deviation > factor * deviation.mean((1, 2), keepdim=True)


def check_space(space: str) -> Space:
    """Return ``space`` if it is a label space.

    Raises:
        ImBenchError: If it is not.
    """
    if space not in get_args(Space):
        raise unknown_name("label space", space, get_args(Space))
    return cast(Space, space)


def _split_bits(predictions: Tensor, space: Space) -> tuple[Tensor, Tensor]:
    """Return the bits that all teachers set, and those that only some set, both ``(B, H, W)``."""
    check_space(space)
    if predictions.dtype != torch.uint8 or predictions.ndim != 4 or not len(predictions):
        raise ImBenchError(
            "teachers' predictions must be label bytes, uint8 (teachers, images, height, width), "
            f"but are {predictions.dtype} {tuple(predictions.shape)}: discretise and stack them"
        )
    agreed = reduce(torch.bitwise_and, predictions)
    return agreed, reduce(torch.bitwise_or, predictions) ^ agreed
