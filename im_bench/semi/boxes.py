"""Where one image is pasted into another: CutMix boxes and class masks, for whole batches.

Every mask is bool (B, H, W), True where the other image is pasted; see
:func:`im_bench.semi.pseudo_label.paste`. CutOut blanks a box instead of pasting into it. All draws
are independent for each image and come from a generator on the device of the mask, which is never
waited for.
"""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor

_CANDIDATES = 256  # The least lucky CutMix box, of 0.4 of the area, fits in about one of 15 draws.


def boxes_from_corners(corners: Tensor, height: int, width: int) -> Tensor:
    """Return boxes as masks, bool (..., H, W).

    Args:
        corners: First row, first column, end row and end column, (..., 4), in pixels. The ends are
            outside the box; what lies outside the image is cut off.
        height: H.
        width: W.
    """
    top, left, bottom, right = corners[..., None, None].unbind(-3)
    rows = torch.arange(height, device=corners.device).unsqueeze(1)
    columns = torch.arange(width, device=corners.device)
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)


def cutmix_boxes(
    count: int,
    height: int,
    width: int,
    generator: torch.Generator,
    probability: float = 0.5,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: float = 0.3,
) -> Tensor:
    """Draw the boxes of FixMatch and UniMatch, bool (B, H, W).

    The area is drawn once; aspect and place anew until the box lies inside the image. So large
    boxes are seldom elongated and mostly at the top left. Of 256 candidates the first that fits is
    taken, which leaves one box of 10**7 that is cut off at the border instead.

    The original knows square images only. Here a box is described relative to the image: its area
    as a share of H * W, and its aspect 1 has the image's own shape.

    Args:
        count: B.
        height: H.
        width: W.
        generator: On the device of the result.
        probability: That an image gets a box at all.
        area: Range of the share of the area, uniform.
        aspect: The ratio of relative height to relative width is uniform in
            ``aspect .. 1 / aspect``.

    Source: LiheYoung/UniMatch, dataset/transform.py, obtain_cutmix_box.
    """
    uniform = _Uniform(generator)
    drawn = uniform(count) < probability
    share = area[0] + uniform(count, 1) * (area[1] - area[0])
    ratio = aspect + uniform(count, _CANDIDATES) * (1 / aspect - aspect)
    heights = (height * (share * ratio).sqrt()).floor()
    widths = (width * (share / ratio).sqrt()).floor()
    top = (uniform(count, _CANDIDATES) * height).floor()
    left = (uniform(count, _CANDIDATES) * width).floor()
    fits = (top + heights <= height) & (left + widths <= width)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    corners = _corners(top, left, heights, widths).gather(1, first.unsqueeze(2).expand(-1, -1, 4))
    return boxes_from_corners(corners.squeeze(1), height, width) & drawn.view(-1, 1, 1)


def half_area_boxes(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw the boxes of U2PL, bool (B, H, W): half of the area, anywhere inside the image.

    The width is a uniform integer in ``W // 2 + 1 .. W - 1``. The mask is the inverse of the
    original's, which is 0 inside the box.

    Args:
        count: B.
        height: H.
        width: W.
        generator: On the device of the result.

    Source: Haochen-Wang409/U2PL, u2pl/dataset/augmentation.py, generate_cutout_mask.
    """
    uniform = _Uniform(generator)
    narrowest = width // 2 + 1
    widths = narrowest + (uniform(count) * (width - narrowest)).floor()
    heights = (height * width / 2 / widths).round()
    top = (uniform(count) * (height - heights + 1)).floor()
    left = (uniform(count) * (width - widths + 1)).floor()
    return boxes_from_corners(_corners(top, left, heights, widths), height, width)


def side_fraction(generator: torch.Generator, low: float = 0.1, high: float = 0.9) -> Tensor:
    """Draw the side of iMAS's boxes as a share of the image's, one scalar tensor for a batch.

    Args:
        generator: On the device of the result.
        low: The least share.
        high: The bound above, itself never drawn.
    """
    return low + (high - low) * _Uniform(generator)()


def imas_boxes(
    count: int, height: int, width: int, v: Tensor, generator: torch.Generator
) -> Tensor:
    """Draw the boxes of iMAS, bool (B, H, W): one size for the batch, one centre for each image.

    The centre's row is a uniform integer in ``H // 16 .. H - 1``, its column likewise.

    Args:
        count: B.
        height: H.
        width: W.
        v: Side of the boxes as a share of the image's, a scalar tensor; see :func:`side_fraction`.
        generator: On the device of ``v``.

    Source: ZhenZHAO/iMAS, imas/dataset/cutmix_tensor.py, rand_bbox_by_v.
    """
    uniform = _Uniform(generator)
    rows, columns = (
        (size // 16 + uniform(count) * (size - size // 16)).floor() for size in (height, width)
    )
    return boxes_from_corners(centred_corners(rows, columns, v, height, width), height, width)


def centred_corners(rows: Tensor, columns: Tensor, v: Tensor, height: int, width: int) -> Tensor:
    """Return the corners of iMAS's boxes, (B, 4), cut off at the borders.

    Args:
        rows: Rows of the centres, (B,).
        columns: Columns of the centres, (B,).
        v: Side of the boxes as a share of the image's, a scalar tensor.
        height: H.
        width: W.
    """
    ranges = []
    for centre, size in ((rows, height), (columns, width)):
        half = (size * v).floor().div(2).floor()
        ranges.append(((centre - half).clamp(min=0), (centre + half).clamp(max=size)))
    (top, bottom), (left, right) = ranges
    return torch.stack([top, left, bottom, right], -1)


def xor_boxes(
    count: int,
    height: int,
    width: int,
    generator: torch.Generator,
    boxes: int = 3,
    area: tuple[float, float] = (0.25, 0.5),
) -> Tensor:
    """Draw the masks of CPS and FPL, bool (B, H, W): the XOR of several boxes in each image.

    Each box has a share p of the area, which is uniform, and a relative height of p**u with u
    uniform in 0..1; then both sides are divided by the root of the number of boxes. It lies
    inside the image. Where two boxes overlap nothing is pasted.

    Args:
        count: B.
        height: H.
        width: W.
        generator: On the device of the result.
        boxes: How many for each image.
        area: Range of p.

    Source: the generator of French et al., "Semi-supervised semantic segmentation needs strong,
    varied perturbations" (2020), as CPS and FPL set it.
    """
    uniform = _Uniform(generator)
    share = area[0] + uniform(count, boxes) * (area[1] - area[0])
    relative_height = share ** uniform(count, boxes)
    heights = (height * relative_height / math.sqrt(boxes)).round()
    widths = (width * share / relative_height / math.sqrt(boxes)).round()
    top = (uniform(count, boxes) * (height - heights)).round()
    left = (uniform(count, boxes) * (width - widths)).round()
    each = boxes_from_corners(_corners(top, left, heights, widths), height, width)
    return reduce(torch.logical_xor, each.unbind(1))


def class_mix_masks(labels: Tensor, outputs: int, generator: torch.Generator) -> Tensor:
    """Draw the class masks of U2PL, bool (B, H, W): half of the classes of each image stay.

    Of the n classes that an image shows, ``n // 2`` are drawn; wherever none of those is, the other
    image is pasted.

    Args:
        labels: Label bytes (B, H, W) of the images that are pasted into.
        outputs: Number of classes. Higher label bytes, such as ignored ones, belong to no class.
        generator: On the device of the labels.

    Source: Haochen-Wang409/U2PL, u2pl/dataset/augmentation.py, generate_class_mask, which is 1 on
    the drawn classes.
    """
    count = len(labels)
    # Whatever belongs to no class shares one further column, which is never drawn.
    columns = labels.flatten(1).long().clamp(max=outputs)
    present = torch.zeros(count, outputs + 1, device=labels.device).scatter_(1, columns, 1.0)
    present = present[:, :outputs]
    # Present classes in random order, before all others: one place each.
    order = (present + _Uniform(generator)(count, outputs)).argsort(1, descending=True)
    places = order.argsort(1)
    drawn = places < present.sum(1, keepdim=True) // 2
    drawn = torch.cat([drawn, torch.zeros_like(drawn[:, :1])], 1)
    return ~drawn.gather(1, columns).view_as(labels)


class _Uniform:
    """Draws float32 numbers from 0 to below 1 on the device of a generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def __call__(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.generator.device)


def _corners(top: Tensor, left: Tensor, heights: Tensor, widths: Tensor) -> Tensor:
    return torch.stack([top, left, top + heights, left + widths], -1)
