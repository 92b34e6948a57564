"""Boundary IoU: the overlap of bands along outlines, as a metric of a package of its own.

Source: B. Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation",
CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from im_bench.evaluation.metric import ImageMetric, Space
from im_bench.lazy import lazy_module

if TYPE_CHECKING:
    import torch.nn.functional as F
    from torch import Tensor
else:
    # Planning reads the facts below without waiting for PyTorch.
    F = lazy_module("torch.nn.functional")


class BoundaryIoU(ImageMetric):
    """Mean over images of the IoU of the foreground's inner boundary bands.

    A band holds the foreground pixels that are less than a distance from the background or from
    the border of the image: 2 % of the image's diagonal, at least one pixel. Distance is measured
    as a chessboard's king walks, where the original erodes with a 3x3 square.
    """

    title = "Boundary IoU"
    definition = "mean over images of the IoU of bands along outlines, 2 % of the diagonal wide"
    spaces = ("binary",)

    def measure(
        self, predicted: Tensor, truth: Tensor, space: Space, classes: Sequence[str]
    ) -> Tensor:
        """Return the boundary IoU of each image, ``(B, 1)``; not-a-number without any band."""
        valid = truth != 255
        height, width = truth.shape[1:]
        distance = max(1, round(0.02 * (height**2 + width**2) ** 0.5))
        ours = _band((predicted != 0) & valid, distance)
        theirs = _band((truth != 0) & valid, distance)
        union = (ours | theirs).sum((1, 2)).double()
        return ((ours & theirs).sum((1, 2)) / union)[:, None]


def _band(foreground: Tensor, distance: int) -> Tensor:
    """Return the foreground without what is left of it after an erosion, ``(B, H, W)``."""
    background = F.pad((~foreground).float(), [distance] * 4, value=1.0)
    near = F.max_pool2d(background[:, None], 2 * distance + 1, stride=1)[:, 0]
    return foreground & (near > 0)
