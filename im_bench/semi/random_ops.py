"""The strong view of iMAS: a few operations of RandAugment, drawn anew for each image of a batch.

The operations are those of PIL's ``ImageOps``, ``ImageEnhance`` and ``GaussianBlur``. Each ends on
the 8-bit levels, as there; see :mod:`im_bench.semi.strong_views`.
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from im_bench.semi.strong_views import (
    choose,
    cut_to_levels,
    gaussian_blur,
    in_parts,
    mix,
    shift_hue,
    to_levels,
    wanted,
)

_FACTOR = (0.1, 0.95)  # Of contrast, brightness, colour and sharpness: all only lessen it.
_SIGMA = (0.1, 2.0)  # Of the blur, in pixels.
_HUE = 0.5  # Greatest shift of the hue, in turns.
_BITS = 4  # Most bits that posterize takes away.
_LEVELS = 256
_MODIFIER = 0.999  # The original's factor of every uniform draw.


class Operation(IntEnum):
    """What can be done to an image."""

    IDENTITY = 0
    AUTOCONTRAST = 1
    EQUALIZE = 2
    INVERT = 3
    BLUR = 4
    CONTRAST = 5
    BRIGHTNESS = 6
    COLOR = 7
    SHARPNESS = 8
    POSTERIZE = 9
    SOLARIZE = 10
    HUE = 11


def random_ops(images: Tensor, generator: torch.Generator, count: int = 2) -> Tensor:
    """Do ``count`` operations to each image, drawn with replacement, with random amounts.

    On images of one channel colour and hue change nothing.

    Args:
        images: float32 (B, C, H, W) in 0..1, C 1 or 3; H and W at least 3.
        generator: On the device of the images.
        count: Operations for each image.

    Returns:
        New images of the same shape, type, range and memory format.

    Source: ZhenZHAO/iMAS, imas/dataset/augmentations.py, strong_img_aug.
    """
    shape = (len(images), count)
    device = generator.device
    operations = torch.randint(len(Operation), shape, generator=generator, device=device)
    amounts = _MODIFIER * torch.rand(shape, generator=generator, device=device)
    backwards = torch.rand(shape, generator=generator, device=device) < 0.5

    def change(part: Tensor, *drawn: Tensor) -> Tensor:
        for each in zip(*(one.unbind(1) for one in drawn), strict=True):
            part = operate(part, *each)
        return part

    return in_parts(change, images, operations, amounts, backwards)


def operate(images: Tensor, operations: Tensor, amounts: Tensor, backwards: Tensor) -> Tensor:
    """Do one operation to each image of a batch.

    Args:
        images: float32 (B, C, H, W) in 0..1, C 1 or 3.
        operations: Values of :class:`Operation`, int64 (B,).
        amounts: How much of it, from 0, least, to 1, most, float32 (B,).
        backwards: Whether the hue is shifted by a negative amount, bool (B,).
    """
    colour = images.shape[1] == 3
    factors = _FACTOR[1] - amounts * (_FACTOR[1] - _FACTOR[0])

    def drew(*any_of: Operation) -> Tensor:
        return torch.stack([operations == each for each in any_of]).any(0)

    by_table = drew(
        Operation.AUTOCONTRAST,
        Operation.EQUALIZE,
        Operation.INVERT,
        Operation.POSTERIZE,
        Operation.SOLARIZE,
    )
    if wanted(by_table):
        images = choose(by_table, _looked_up(images, operations, amounts), images)
    paled = drew(Operation.COLOR) & colour
    faded = drew(Operation.CONTRAST, Operation.BRIGHTNESS) | paled
    if wanted(faded):
        images = cut_to_levels(
            mix(
                images,
                own=factors.where(faded, 1.0),
                grey=(1 - factors) * paled,
                mean=(1 - factors) * drew(Operation.CONTRAST),
            )
        )
    softened = drew(Operation.SHARPNESS)
    if wanted(softened):
        own = factors.where(softened, 1.0).view(-1, 1, 1, 1)
        images = cut_to_levels(torch.lerp(_smooth(images), images, own))
    blurred = drew(Operation.BLUR)
    if wanted(blurred):
        sigma = (_SIGMA[0] + amounts * (_SIGMA[1] - _SIGMA[0])).where(blurred, 0.0)
        images = to_levels(gaussian_blur(images, sigma, _SIGMA[1]))
    turned = drew(Operation.HUE)
    if colour and wanted(turned):
        turns = (_HUE * amounts).where(turned, 0.0)
        images = to_levels(shift_hue(images, torch.where(backwards, -turns, turns)))
    return images


def _looked_up(images: Tensor, operations: Tensor, amounts: Tensor) -> Tensor:
    """Map the levels of each image by the table of its operation; as they are without one."""
    levels = (images * (_LEVELS - 1)).round().long().flatten(2)
    operations, amounts = operations.view(-1, 1, 1), amounts.view(-1, 1, 1)
    same = torch.arange(_LEVELS, device=images.device).view(1, 1, -1)
    inverse = _LEVELS - 1 - same
    step = 2 ** (_BITS * amounts).ceil().clamp(min=1).long()
    threshold = (_LEVELS - ((_LEVELS - 1) * amounts).ceil()).clamp(min=1)
    tables = {
        Operation.AUTOCONTRAST: _autocontrast(levels, same),
        Operation.INVERT: inverse,
        Operation.POSTERIZE: same - same % step,
        Operation.SOLARIZE: torch.where(same < threshold, same, inverse),
    }
    if wanted(operations == Operation.EQUALIZE):
        tables[Operation.EQUALIZE] = _equalize(levels, same)
    table = same
    for operation, other in tables.items():
        table = torch.where(operations == operation, other, table)
    table = table.to(images.dtype).div(_LEVELS - 1).expand(*levels.shape[:2], -1)
    return table.gather(2, levels).view_as(images)


def _autocontrast(levels: Tensor, same: Tensor) -> Tensor:
    """Return tables (B, C, 256) that stretch each channel to all levels."""
    low, high = levels.amin(2, keepdim=True), levels.amax(2, keepdim=True)
    stretched = (same - low) * (_LEVELS - 1) // (high - low).clamp(min=1)
    return torch.where(high > low, stretched.clamp(0, _LEVELS - 1), same)


def _equalize(levels: Tensor, same: Tensor) -> Tensor:
    """Return tables (B, C, 256) that make the levels of each channel equally frequent."""
    counts = torch.zeros(*levels.shape[:2], _LEVELS, dtype=torch.int64, device=levels.device)
    counts.scatter_add_(2, levels, torch.ones_like(same[..., :1]).expand_as(levels))
    highest = counts.gather(2, levels.amax(2, keepdim=True))
    step = (levels.shape[2] - highest) // (_LEVELS - 1)
    below = counts.cumsum(2) - counts
    equalized = ((step // 2 + below) // step.clamp(min=1)).clamp(max=_LEVELS - 1)
    return torch.where(step > 0, equalized, same)


def _smooth(images: Tensor) -> Tensor:
    """Return what PIL's sharpness fades to: a 3x3 mean, the centre 5 times; not at the border."""
    # Adding shifted copies is several times as fast on a CPU as pooling.
    rows = images[..., :-2, :] + images[..., 1:-1, :] + images[..., 2:, :]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = images.clone()
    smooth[..., 1:-1, 1:-1].mul_(4).add_(sums).div_(13)
    return smooth
