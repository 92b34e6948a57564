"""Random views, and what stands for the labels of unlabelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mmseg.registry import TRANSFORMS
from PIL import Image

from im_bench.data.description import IGNORED
from im_bench.data.label_maps import UNDECIDED, label_file, write_label_map
from im_bench.data.transforms import (
    BlankAnnotations,
    LoadPseudoLabels,
    RandomScaleCrop,
    ScaleCrop,
    check_crop,
    draw_scale_crop,
)
from im_bench.errors import ImBenchError

sides = st.integers(8, 60)
seeds = st.integers(0, 2**32 - 1)


def photo(width: int, height: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def whole_then_crop(pixels: np.ndarray, draw: ScaleCrop, filter_: Image.Resampling) -> np.ndarray:
    """Resize all of it, pad with 7, crop and flip: the plain order of work."""
    resized = np.asarray(Image.fromarray(pixels).resize(draw.resized, filter_))
    height, width = resized.shape[:2]
    below, beside = max(0, draw.crop[1] - height), max(0, draw.crop[0] - width)
    rest = [(0, 0)] * (resized.ndim - 2)
    padded = np.pad(resized, [(0, below), (0, beside), *rest], constant_values=7)
    view = padded[draw.top : draw.top + draw.crop[1], draw.left : draw.left + draw.crop[0]]
    return view[:, ::-1] if draw.flip else view


@given(sides, sides, sides, sides, seeds)
@example(22, 42, 11, 8, 2_367_302_833)
@settings(max_examples=60, deadline=None)
def test_equal_to_resizing_the_whole_image(
    width: int, height: int, crop_width: int, crop_height: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    draw = draw_scale_crop(rng, (width, height), (crop_width, crop_height))
    image = photo(width, height)
    expected = whole_then_crop(image, draw, Image.Resampling.BILINEAR)
    view = draw.image(image, pad=7)
    assert view.shape == expected.shape
    # Pillow rounds after each of its two passes, and weights are of limited precision.
    gaps = np.abs(view.astype(int) - expected)
    assert gaps.max() <= 2
    assert gaps.mean() < 0.7

    index = np.arange(width * height, dtype=np.int32).reshape(height, width)
    chosen = draw.map(index, pad=7)
    plain = whole_then_crop(index, draw, Image.Resampling.NEAREST)
    # Where the centre of a pixel falls onto the border of two, either is nearest.
    apart = np.abs(np.subtract(np.divmod(chosen, width), np.divmod(plain, width)))
    assert apart.max() <= 1
    assert (draw.valid() == (draw.map(index + 8, pad=7) != 7)).all()


@given(sides, sides, sides, sides, seeds)
@settings(max_examples=60, deadline=None)
def test_opencv_resizes_as_it_does_the_whole_image(
    width: int, height: int, crop_width: int, crop_height: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    size, crop = (width, height), (crop_width, crop_height)
    draw = draw_scale_crop(rng, size, crop, flip=0, backend="cv2")
    image = photo(width, height)
    shown = (slice(draw.shown[1]), slice(draw.shown[0]))
    part = (slice(draw.top, draw.top + draw.shown[1]), slice(draw.left, draw.left + draw.shown[0]))
    view = draw.image(image, pad=7)[shown]
    assert (view == cv2.resize(image, draw.resized)[part]).all()

    def torch_resized(pixels: np.ndarray, **how: Any) -> np.ndarray:
        batch = torch.from_numpy(pixels).double().permute(2, 0, 1)[None]
        resized = F.interpolate(batch, draw.resized[::-1], **how)
        return resized[0].permute(1, 2, 0).numpy()[part]

    # U2PL's arithmetic. OpenCV's weights have 11 bits.
    expected = torch_resized(image, mode="bilinear", align_corners=False)
    assert np.abs(view - expected).max() <= 1
    index = np.arange(width * height, dtype=np.int32).reshape(height, width)
    nearest = torch_resized(index[..., None], mode="nearest")[..., 0]
    chosen = draw.map(index, pad=7)[shown]
    # Where the corner of a pixel falls onto the border of two, PyTorch's rounding decides.
    apart = np.abs(np.subtract(np.divmod(chosen, width), np.divmod(nearest.astype(int), width)))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.05


@pytest.mark.parametrize(("scale", "sharper"), [(0.5, 2.0), (0.9, 1.1), (1.0, 1.0), (2.0, 1.0)])
def test_only_pillow_smoothes_what_it_shrinks(scale: float, sharper: float) -> None:
    image = cv2.GaussianBlur(photo(200, 160), (0, 0), 0.8)  # about as sharp as a photograph
    size = (round(200 * scale), round(160 * scale))
    variance = {
        backend: cv2.Laplacian(
            ScaleCrop((200, 160), size, size, 0, 0, False, backend).image(image), cv2.CV_64F
        ).var()
        for backend in ("cv2", "pillow")
    }
    ratio = variance["cv2"] / variance["pillow"]
    assert ratio > sharper if scale < 1 else ratio == pytest.approx(1, abs=0.05)


def test_labels_stay_on_their_image() -> None:
    """A label map that is the image's own channel moves as the image does."""
    smooth = cv2.GaussianBlur(photo(300, 200), (0, 0), 9)
    for seed in range(20):
        draw = draw_scale_crop(np.random.default_rng(seed), (300, 200), (128, 96))
        view, label = draw.image(smooth), draw.map(smooth[..., 0], 0)
        assert np.abs(view[..., 0].astype(int) - label).mean() < 1


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_draws_are_in_range(seed: int) -> None:
    draw = draw_scale_crop(np.random.default_rng(seed), (200, 100), (80, 80), (0.5, 2.0))
    assert 100 <= draw.resized[0] <= 400
    assert abs(draw.resized[1] - draw.resized[0] / 2) <= 0.5
    assert 0 <= draw.left <= max(0, draw.resized[0] - 80)
    assert 0 <= draw.top <= max(0, draw.resized[1] - 80)


def test_draws_cover_their_range() -> None:
    rng = np.random.default_rng(0)
    draws = [draw_scale_crop(rng, (200, 100), (80, 80)) for _ in range(4000)]
    longer = np.array([draw.resized[0] for draw in draws])
    assert {longer.min(), longer.max()} == {100, 400}
    assert abs(longer.mean() - 250) < 5
    assert abs(np.mean([draw.flip for draw in draws]) - 0.5) < 0.04
    places = [draw.left / (draw.resized[0] - 80) for draw in draws]
    assert abs(np.mean(places) - 0.5) < 0.03


@pytest.mark.parametrize("backend", ["pillow", "cv2"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_number_of_channels(channels: int, backend: Any) -> None:
    image = photo(20, 20, channels)
    draw = ScaleCrop((20, 20), (20, 20), (30, 25), 0, 0, flip=False, backend=backend)
    view = draw.image(image, pad=list(range(channels)))
    assert (view[:20, :20] == image).all()
    assert (view[20:] == np.arange(channels)).all()


def test_transform_changes_image_and_maps_alike() -> None:
    np.random.seed(3)
    transform = TRANSFORMS.build(
        {"type": "RandomScaleCrop", "crop": [64, 48], "image_pad": [1, 2, 3], "ratio": [0.2, 0.4]}
    )
    label = np.full((80, 100), 5, np.uint8)
    results = transform({"img": photo(100, 80), "gt_seg_map": label, "seg_fields": ["gt_seg_map"]})
    assert results["img"].shape == (48, 64, 3)
    assert results["img_shape"] == results["gt_seg_map"].shape == (48, 64)
    padded = results["gt_seg_map"] == IGNORED
    assert 0 < padded.mean() < 1
    assert (results["img"][padded] == [1, 2, 3]).all()


def test_transform_draws_from_the_global_generator() -> None:
    def view(seed: int) -> np.ndarray:
        np.random.seed(seed)
        image: np.ndarray = RandomScaleCrop(32)({"img": photo(64, 64)})["img"]
        return image

    assert (view(1) == view(1)).all()
    assert (view(1) != view(2)).any()


@pytest.mark.parametrize(
    ("crop", "ratio", "message"),
    [
        (0, (1, 2), "crop 0 is no size"),
        ((5, 5, 5), (1, 2), "is no size: give one number, or width and height"),
        (5, (2, 1), "ratio (2, 1) is no range"),
        (5, (0, 1), "is no range: give the smallest scale"),
    ],
)
def test_sizes_that_cannot_be(crop: Any, ratio: Any, message: str) -> None:
    with pytest.raises(ImBenchError) as error:
        check_crop(crop, ratio)
    assert message in str(error.value)


def test_blank_annotations_let_padding_be_seen() -> None:
    results = BlankAnnotations()({"img": photo(10, 8), "seg_fields": []})
    assert results["gt_seg_map"].shape == (8, 10)
    assert not results["gt_seg_map"].any()
    assert results["seg_fields"] == ["gt_seg_map"]


def test_pseudo_labels_are_found_by_the_images_path(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (2, 8, 10), np.uint8)
    for folder, labels in zip(("a", "b"), stored, strict=True):
        write_label_map(tmp_path, f"{folder}/1.jpg", labels, "")
    transform = TRANSFORMS.build({"type": "LoadPseudoLabels", "cache_dir": str(tmp_path)})
    for folder, labels in zip(("a", "b"), stored, strict=True):
        found = transform({"img": photo(10, 8), "img_path": f"{folder}/1.jpg"})
        assert (found["gt_seg_map"] == labels).all()
        assert found["seg_fields"] == ["gt_seg_map"]


def test_without_a_folder_everything_is_undecided() -> None:
    results = LoadPseudoLabels()({"img": photo(10, 8), "img_path": "a.jpg"})
    assert results["gt_seg_map"].shape == (8, 10)
    assert (results["gt_seg_map"] == UNDECIDED).all()


def test_wrong_pseudo_labels(tmp_path: Path) -> None:
    results = {"img": photo(10, 8), "img_path": "a.jpg"}
    with pytest.raises(ImBenchError, match=r"image a.jpg has no pseudo-label .*a-\w+.png"):
        LoadPseudoLabels(tmp_path)(dict(results))
    write_label_map(tmp_path, "a.jpg", np.zeros((4, 5), np.uint8), "")
    with pytest.raises(ImBenchError, match=r"is \(4, 5\), its image \(8, 10\)"):
        LoadPseudoLabels(tmp_path)(dict(results))
    label_file(tmp_path, "a.jpg").write_bytes(b"no image")
    with pytest.raises(ImBenchError, match="is no readable image"):
        LoadPseudoLabels(tmp_path)(dict(results))
