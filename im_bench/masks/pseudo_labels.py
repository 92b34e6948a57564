"""From teachers' predictions to masked pseudo-labels, in the order of the original."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from im_bench.errors import ImBenchError, unknown_name
from im_bench.masks.blocking import block_input, block_output
from im_bench.masks.consensus import Space, consensus, foreground_sizes, inconsistent_sizes
from im_bench.masks.filters import agreed_foreground, same_classes
from im_bench.masks.morphology import dilate, dilate_bits, dilate_classes, erode

ImageFilter = Literal["none", "foreground", "classes"]


@dataclass(frozen=True)
class MaskOptions:
    """How inconsistency becomes pseudo-labels; the defaults are the original's.

    Attributes:
        erode: Side of the kernel that erodes the mask, in pixels; 0 is off. If it is on, the
            multi-class and multi-label labels grow by a fixed 3 x 3 kernel into what it frees.
        dilate: Side of the kernel that dilates the mask after that; 0 is off.
        block_input: Whether inconsistent pixels of the image are blanked.
        block_output: Whether inconsistent pixels of the label are replaced.
        blocked_label: By what: 0, or 255 where they shall be ignored.
        image_filter: Which images are worth keeping: all, those with more agreed foreground than
            inconsistency, or those in which all teachers see the same classes.
        growing_bits: Multi-label only: the classes that grow, as a bit mask. HeLa grows alive and
            dead but not the position.

    Raises:
        ImBenchError: If a value is out of range.
    """

    erode: int = 0
    dilate: int = 0
    block_input: bool = True
    block_output: bool = True
    blocked_label: int = 0
    image_filter: ImageFilter = "none"
    growing_bits: int = 0xFF

    def __post_init__(self) -> None:
        for name in ("erode", "dilate", "blocked_label", "growing_bits"):
            value = getattr(self, name)
            if not 0 <= value <= 255:
                raise ImBenchError(f"mask option {name!r} must lie within 0 and 255 but is {value}")
        if self.image_filter not in get_args(ImageFilter):
            raise unknown_name("image filter", self.image_filter, get_args(ImageFilter))


class MaskedBatch(NamedTuple):
    """Pseudo-labelled images.

    Attributes:
        images: As given, ``(B, C, H, W)``, blanked where teachers disagree.
        labels: uint8 ``(B, H, W)`` pseudo-labels, blocked where teachers disagree.
        inconsistent: bool ``(B, H, W)``, the mask after erosion and dilation.
        keep: bool ``(B,)``, which images pass the image filter. None is removed here.
        inconsistent_sizes: int64 ``(B,)``, before morphology (per class for multi-label).
        foreground_sizes: int64 ``(B,)``, agreed foreground pixels, before morphology.
    """

    images: Tensor
    labels: Tensor
    inconsistent: Tensor
    keep: Tensor
    inconsistent_sizes: Tensor
    foreground_sizes: Tensor


_DEFAULTS = MaskOptions()


def inconsistency_masked(
    images: Tensor,
    predictions: Tensor,
    space: Space,
    options: MaskOptions = _DEFAULTS,
    relabel: Callable[[Tensor], Tensor] | None = None,
) -> MaskedBatch:
    """Return images and pseudo-labels from which the teachers' disagreement is taken away.

    In the order of the original: consensus; image filter; growth of the labels if the mask is
    eroded; erosion and dilation of the mask; blocking.

    Args:
        images: uint8 or float ``(B, C, H, W)``: the images that the teachers saw.
        predictions: uint8 ``(K, B, H, W)``, the label bytes of each teacher.
        space: The label space.
        options: What is done, and how far.
        relabel: Applied to the consensus, uint8 ``(B, H, W)``, before it grows; HeLa redraws the
            cells' positions here.

    Raises:
        ImBenchError: As :func:`~im_bench.masks.consensus.consensus`.

    Source: original implementation, ``create_pseudo_labels_im_*``.
    """
    agreed, disputed = consensus(predictions, space)
    labels = agreed if relabel is None else relabel(agreed)
    inconsistent = dilate(erode(disputed, options.erode), options.dilate)
    if options.erode:
        labels = grown_labels(labels, space, options)
    return MaskedBatch(
        images=block_input(images, inconsistent) if options.block_input else images,
        labels=(
            block_output(labels, inconsistent, options.blocked_label)
            if options.block_output
            else labels
        ),
        inconsistent=inconsistent,
        keep=kept_images(agreed, disputed, predictions, space, options.image_filter),
        inconsistent_sizes=inconsistent_sizes(predictions, space),
        foreground_sizes=foreground_sizes(agreed),
    )


def grown_labels(labels: Tensor, space: Space, options: MaskOptions) -> Tensor:
    """Return the labels grown into the pixels that an eroded mask gives free.

    Args:
        labels: uint8 ``(B, H, W)``, the consensus.
        space: The label space; binary labels stay as they are.
        options: Of these, which bits grow.
    """
    if space == "multiclass":
        return dilate_classes(labels)
    if space == "multilabel":
        return dilate_bits(labels, bits=options.growing_bits)
    return labels  # the original lets binary labels be: what is freed becomes background


def kept_images(
    agreed: Tensor, disputed: Tensor, predictions: Tensor, space: Space, image_filter: ImageFilter
) -> Tensor:
    """Return which images pass the filter, bool ``(B,)``.

    Args:
        agreed: uint8 ``(B, H, W)``, the consensus.
        disputed: bool ``(B, H, W)``, the mask before any morphology.
        predictions: uint8 ``(K, B, H, W)``, the label bytes of each teacher.
        space: The label space.
        image_filter: See :class:`MaskOptions`.
    """
    if image_filter == "foreground":
        return agreed_foreground(agreed, disputed)
    if image_filter == "classes":
        return same_classes(predictions, space)
    return torch.ones(len(agreed), dtype=torch.bool, device=agreed.device)
