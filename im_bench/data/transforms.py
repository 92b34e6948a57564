"""Weak views: labels of unlabelled images, and the random scale and crop, as transforms.

Only the part of an image that a crop shows is resized: the result is that of resizing the whole
image, at a fraction of the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from numpy.typing import NDArray
from PIL import Image

from im_bench.data.image_files import read_raw
from im_bench.errors import ImBenchError

Pixels = NDArray[np.uint8]
Size = tuple[int, int]

IGNORED = 255
INCONSISTENT = 254
"""In a stored pseudo-label: the teachers disagree."""


class ScaleCrop(NamedTuple):
    """One draw of a random scale, crop and flip. All sizes are (width, height) in pixels.

    Attributes:
        source: Size of the image.
        resized: Size to which it is resized.
        crop: Size of the view.
        left: Column of the resized image at which the view begins.
        top: Row of the resized image at which the view begins.
        flip: Whether the view is mirrored, its padding included.
    """

    source: Size
    resized: Size
    crop: Size
    left: int
    top: int
    flip: bool

    @property
    def shown(self) -> Size:
        """Size of the part of the view that is image; the rest, right and bottom, is padding."""
        return min(self.crop[0], self.resized[0]), min(self.crop[1], self.resized[1])

    def image(self, image: Pixels, pad: float | Sequence[float] = 0) -> Pixels:
        """Return the view of an image (H, W, C): bilinear, anti-aliased where it shrinks."""
        (left, right, x_box), (top, bottom, y_box) = self._region(0), self._region(1)
        box = (x_box[0], y_box[0], x_box[1], y_box[1])
        region = image[top:bottom, left:right]
        planes = [region] if region.shape[2] == 3 else list(np.moveaxis(region, 2, 0))
        resized = [
            np.asarray(
                Image.fromarray(np.ascontiguousarray(plane)).resize(
                    self.shown, Image.Resampling.BILINEAR, box=box
                )
            )
            for plane in planes
        ]
        return self._placed(resized[0] if region.shape[2] == 3 else np.stack(resized, 2), pad)

    def map(self, labels: NDArray[Any], pad: float) -> NDArray[Any]:
        """Return the view of a map (H, W) of any type: the nearest pixel."""
        rows, columns = self._nearest(1), self._nearest(0)
        return self._placed(labels[rows][:, columns], pad)

    def valid(self) -> NDArray[np.bool_]:
        """Return where the view is image and not padding, (H, W)."""
        width, height = self.shown
        return self._placed(np.ones((height, width), np.bool_), 0)

    def _region(self, axis: int) -> tuple[int, int, tuple[float, float]]:
        """Return the source pixels that matter along an axis, and the view's place among them."""
        scale = self.source[axis] / self.resized[axis]
        start = (self.left, self.top)[axis]
        low, high = start * scale, (start + self.shown[axis]) * scale
        # How far the filter reaches beyond the view.
        reach = math.ceil(max(scale, 1.0)) + 1
        first = max(0, math.floor(low) - reach)
        last = min(self.source[axis], math.ceil(high) + reach)
        return first, last, (low - first, min(high, self.source[axis]) - first)

    def _nearest(self, axis: int) -> NDArray[np.int64]:
        start = (self.left, self.top)[axis]
        centres = np.arange(start, start + self.shown[axis]) + 0.5
        index: NDArray[np.int64] = (centres * self.source[axis] / self.resized[axis]).astype(int)
        return index

    def _placed(self, shown: NDArray[Any], pad: float | Sequence[float]) -> NDArray[Any]:
        width, height = self.crop
        view = np.empty((height, width, *shown.shape[2:]), shown.dtype)
        if self.shown != self.crop:
            view[:] = pad
        columns = slice(self.shown[0])
        (view[:, ::-1] if self.flip else view)[: self.shown[1], columns] = shown
        return view


def draw_scale_crop(
    rng: np.random.Generator,
    source: Size,
    crop: Size,
    ratio: tuple[float, float] = (0.5, 2.0),
    flip: float = 0.5,
) -> ScaleCrop:
    """Draw as the UniMatch family does (``dataset/transform.py``).

    The longer side L becomes an integer, uniform from ``ratio[0] * L`` to ``ratio[1] * L``, the
    aspect is kept, and the place of the crop is uniform.

    Args:
        rng: The generator.
        source: Size of the image.
        crop: Size of the view.
        ratio: Range of the scale.
        flip: Probability of a mirrored view.
    """
    longer = max(source)
    scale = rng.integers(int(longer * ratio[0]), int(longer * ratio[1]), endpoint=True) / longer
    width, height = (max(1, int(side * scale + 0.5)) for side in source)
    left, top = (
        int(rng.integers(0, max(0, side - shown), endpoint=True))
        for side, shown in zip((width, height), crop, strict=True)
    )
    return ScaleCrop(source, (width, height), crop, left, top, bool(rng.random() < flip))


@TRANSFORMS.register_module()
class RandomScaleCrop(BaseTransform):
    """Resize by a random factor, pad right and bottom, crop at random, flip at random.

    Draws from numpy's global generator, as MMSegmentation's transforms do. Changes ``img`` and
    every map in ``seg_fields``.

    Args:
        crop: Width and height of the view, or one number for both.
        ratio: Range of the scale.
        image_pad: Value of padded pixels: one for all channels, or one each.
        label_pad: Value of padded pixels in maps.
        flip: Probability of a horizontal flip.

    Raises:
        ImBenchError: A size or the range cannot be.
    """

    def __init__(
        self,
        crop: int | Sequence[int],
        ratio: Sequence[float] = (0.5, 2.0),
        image_pad: float | Sequence[float] = 0,
        label_pad: int = IGNORED,
        flip: float = 0.5,
    ) -> None:
        self.crop, self.ratio = check_crop(crop, ratio)
        self.image_pad = image_pad
        self.label_pad = label_pad
        self.flip = flip

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return ``results`` with the view in place of the image."""
        height, width = results["img"].shape[:2]
        rng = np.random.default_rng(np.random.randint(2**31))
        draw = draw_scale_crop(rng, (width, height), self.crop, self.ratio, self.flip)
        results["img"] = draw.image(results["img"], self.image_pad)
        for key in results.get("seg_fields", []):
            results[key] = draw.map(results[key], self.label_pad)
        results["img_shape"] = results["pad_shape"] = results["img"].shape[:2]
        results["flip"] = draw.flip
        results["flip_direction"] = "horizontal" if draw.flip else None
        return results


def check_crop(
    crop: int | Sequence[int], ratio: Sequence[float]
) -> tuple[Size, tuple[float, float]]:
    """Return the size of a crop as (width, height), and the range of the scale.

    Raises:
        ImBenchError: One of them cannot be.
    """
    sides = (crop, crop) if isinstance(crop, int) else tuple(crop)
    if len(sides) != 2 or min(sides) < 1:
        raise ImBenchError(f"crop {crop} is no size: give one number, or width and height")
    if len(ratio) != 2 or not 0 < ratio[0] <= ratio[1]:
        raise ImBenchError(f"ratio {ratio} is no range: give the smallest scale, then the largest")
    return (sides[0], sides[1]), (ratio[0], ratio[1])


@TRANSFORMS.register_module()
class BlankAnnotations(BaseTransform):
    """Give an unlabelled image a map of zeros, so that later padding shows what is no image."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``gt_seg_map``, zeros (H, W)."""
        return _with_map(results, np.zeros(results["img"].shape[:2], np.uint8))


@TRANSFORMS.register_module()
class LoadConsensus(BaseTransform):
    """Load what the teachers of Inconsistency Masks said of an unlabelled image.

    A map is a PNG file of one channel, named as its image: label values, 254 where the teachers
    disagree, 255 where there is nothing to say. An image without a file is inconsistent everywhere.

    Args:
        folder: Of the maps; may be set later, before the first image is loaded.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = folder

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``gt_seg_map``, (H, W).

        Raises:
            ImBenchError: No folder is set or it is none, or a map is not of its image's size.
        """
        if self.folder is None or not Path(self.folder).is_dir():
            raise ImBenchError(
                f"pseudo-labels should lie in {self.folder}, which is no folder: make them first"
            )
        shape = results["img"].shape[:2]
        path = Path(self.folder, f"{Path(results['img_path']).stem}.png")
        labels = read_raw(path) if path.is_file() else np.full(shape, INCONSISTENT, np.uint8)
        if labels.shape != shape:
            raise ImBenchError(
                f"{path} has shape {labels.shape} but its image {shape}: make the pseudo-labels of "
                "these images anew"
            )
        return _with_map(results, labels)


def _with_map(results: dict[str, Any], labels: NDArray[Any]) -> dict[str, Any]:
    results["gt_seg_map"] = labels
    results.setdefault("seg_fields", []).append("gt_seg_map")
    return results
