"""Weak views: labels of unlabelled images, and the random scale and crop, as transforms.

With Pillow only the part of an image that a crop shows is resized: the result is that of resizing
the whole image, at a fraction of the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from numpy.typing import NDArray
from PIL import Image

from im_bench.data.description import IGNORED
from im_bench.data.label_maps import UNDECIDED, read_label_map
from im_bench.errors import ImBenchError, unknown_name

Pixels = NDArray[np.uint8]
Size = tuple[int, int]
Backend = Literal["pillow", "cv2"]
"""Who resizes, in MMCV's words. Pillow smoothes where it shrinks, as UniMatch and iMAS do. OpenCV
takes two neighbours a side at any scale, as CPS does, and U2PL with PyTorch; small images are
sharper then, and noisier. Of labels Pillow takes the pixel at the centre, OpenCV at the corner."""


class ScaleCrop(NamedTuple):
    """One draw of a random scale, crop and flip. All sizes are (width, height) in pixels.

    Attributes:
        source: Size of the image.
        resized: Size to which it is resized.
        crop: Size of the view.
        left: Column of the resized image at which the view begins.
        top: Row of the resized image at which the view begins.
        flip: Whether the view is mirrored, its padding included.
        backend: Who resizes.
    """

    source: Size
    resized: Size
    crop: Size
    left: int
    top: int
    flip: bool
    backend: Backend = "pillow"

    @property
    def shown(self) -> Size:
        """Size of the part of the view that is image; the rest, right and bottom, is padding."""
        return min(self.crop[0], self.resized[0]), min(self.crop[1], self.resized[1])

    def image(self, image: Pixels, pad: float | Sequence[float] = 0) -> Pixels:
        """Return the view of an image (H, W, C): bilinear, with Pillow anti-aliased."""
        if self.backend == "cv2":
            whole = cv2.resize(image, self.resized, interpolation=cv2.INTER_LINEAR)
            width, height = self.shown
            shown = whole[self.top : self.top + height, self.left : self.left + width]
            return self._placed(shown.reshape(height, width, -1), pad)
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
        places = np.arange(start, start + self.shown[axis])
        if self.backend == "cv2":
            return places * self.source[axis] // self.resized[axis]
        index: NDArray[np.int64] = ((places + 0.5) * self.source[axis] / self.resized[axis]).astype(
            int
        )
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
    backend: Backend = "pillow",
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
        backend: Who resizes.
    """
    longer = max(source)
    scale = rng.integers(int(longer * ratio[0]), int(longer * ratio[1]), endpoint=True) / longer
    width, height = (max(1, int(side * scale + 0.5)) for side in source)
    left, top = (
        int(rng.integers(0, max(0, side - shown), endpoint=True))
        for side, shown in zip((width, height), crop, strict=True)
    )
    return ScaleCrop(source, (width, height), crop, left, top, bool(rng.random() < flip), backend)


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
        backend: Who resizes, ``pillow`` or ``cv2``: with or without anti-aliasing.

    Raises:
        ImBenchError: A size or the range cannot be, or the backend is unknown.
    """

    def __init__(
        self,
        crop: int | Sequence[int],
        ratio: Sequence[float] = (0.5, 2.0),
        image_pad: float | Sequence[float] = 0,
        label_pad: int = IGNORED,
        flip: float = 0.5,
        backend: Backend = "pillow",
    ) -> None:
        self.crop, self.ratio = check_crop(crop, ratio)
        if backend not in get_args(Backend):
            raise unknown_name("backend", str(backend), get_args(Backend))
        self.backend = backend
        self.image_pad = image_pad
        self.label_pad = label_pad
        self.flip = flip

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return ``results`` with the view in place of the image."""
        height, width = results["img"].shape[:2]
        rng = np.random.default_rng(np.random.randint(2**31))
        draw = draw_scale_crop(rng, (width, height), self.crop, self.ratio, self.flip, self.backend)
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
class LoadPseudoLabels(BaseTransform):
    """Stand where an annotation would be loaded: read a label map, or say "undecided".

    Args:
        cache_dir: The folder of an ``InconsistencyMaskHook``; None: every pixel is undecided, 254.
    """

    def __init__(self, cache_dir: str | Path | None = None) -> None:
        self.cache_dir = None if cache_dir is None else Path(cache_dir).expanduser()

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``gt_seg_map``, uint8 (H, W); see :mod:`im_bench.data.label_maps`.

        Raises:
            ImBenchError: The label map is missing, damaged, or not of the image's size.
        """
        size = results["img"].shape[:2]
        if self.cache_dir is None:
            return _with_map(results, np.full(size, UNDECIDED, np.uint8))
        return _with_map(results, read_label_map(self.cache_dir, results["img_path"], size))


def read_pseudo_labels(dataset: Any, cache_dir: str | Path) -> None:
    """Let a data set of MMSegmentation read pseudo-labels from a folder from now on.

    Worker processes that run already do not learn of it.

    Args:
        dataset: Of unlabelled images.
        cache_dir: Of their label maps.

    Raises:
        ImBenchError: The pipeline has no place for pseudo-labels.
    """
    steps = transforms_of(dataset)
    for position, step in enumerate(steps):
        if isinstance(step, (BlankAnnotations, LoadPseudoLabels)):
            steps[position] = LoadPseudoLabels(cache_dir)
            return
    raise ImBenchError(
        "the unlabelled images' pipeline has no place for pseudo-labels: put LoadPseudoLabels or "
        "BlankAnnotations behind what loads the image"
    )


def reads_pseudo_labels(dataset: Any) -> bool:
    """Return whether a data set of MMSegmentation reads label maps."""
    return any(
        isinstance(step, LoadPseudoLabels) and step.cache_dir is not None
        for step in transforms_of(dataset)
    )


def transforms_of(dataset: Any) -> list[Any]:
    """Return the steps of a data set's pipeline, to be changed in place; [] without a pipeline."""
    pipeline = getattr(dataset, "pipeline", None)
    return [] if pipeline is None else pipeline.transforms


def _with_map(results: dict[str, Any], labels: NDArray[Any]) -> dict[str, Any]:
    results["gt_seg_map"] = labels
    results.setdefault("seg_fields", []).append("gt_seg_map")
    return results
