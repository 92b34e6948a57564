"""Both routes, suites and configs of MMSegmentation, read a file as the same pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from numpy.typing import NDArray
from PIL import Image

from im_bench.data.image_files import WrongLabelError, read_image
from im_bench.data.image_headers import UnreadableImageError
from im_bench.data.loading import LoadImage, LoadLabels

from . import formats
from .conftest import save

COLOUR = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, 4, (6, 8), dtype=np.uint8)


def image(path: Path, **fields: Any) -> NDArray[np.uint8]:
    results = LoadImage(**fields).transform({"img_path": str(path)})
    assert results is not None
    loaded: NDArray[np.uint8] = results["img"]
    assert results["img_shape"] == results["ori_shape"] == loaded.shape[:2]
    assert loaded.dtype == np.uint8
    assert loaded.flags.c_contiguous
    return loaded


def labels(loader: LoadAnnotations, path: Path, **said: Any) -> NDArray[np.uint8]:
    results = {"seg_map_path": str(path), "seg_fields": [], "reduce_zero_label": False, **said}
    loaded: NDArray[np.uint8] = loader.transform(results)["gt_seg_map"]
    assert results["seg_fields"] == ["gt_seg_map"]
    assert loaded.dtype == np.uint8
    return loaded


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_both_routes_read_what_mmsegmentation_reads(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    path = tmp_path / f"a.{suffix}"
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(COLOUR).save(path, **({} if suffix == "bmp" else {"exif": tags}))
    ours = image(path)
    assert (ours[..., ::-1] == read_image(path, "rgb")).all()
    if (suffix, orientation) != ("tif", 6):  # which OpenCV cannot turn
        plain = LoadImageFromFile().transform({"img_path": str(path)})
        assert plain is not None
        assert (ours == plain["img"]).all()


def test_grey_becomes_colour(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", COLOUR[..., 0])
    assert (image(path) == COLOUR[..., :1]).all()


def test_images_are_scaled_by_the_fields_of_a_description(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", COLOUR[..., 0].astype(np.uint16))
    with pytest.raises(UnreadableImageError, match="`scale: "):
        image(path)
    assert (image(path, scale=[0, 255]) == COLOUR[..., :1]).all()


def test_photographs_that_are_cut_off_are_told(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", COLOUR)
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(UnreadableImageError, match="cut off"):
        image(path)


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("label_map", [None, {0: 2, 1: 255, 2: 0}])
def test_labels_are_those_of_mmsegmentation(
    tmp_path: Path, reduced: bool, label_map: dict[int, int] | None
) -> None:
    path = save(tmp_path / "a.png", np.where(LABELS == 3, 255, LABELS).astype(np.uint8))
    said = {"reduce_zero_label": reduced, "label_map": label_map}
    ours, theirs = (labels(loader(), path, **said) for loader in (LoadLabels, LoadAnnotations))
    assert (ours == theirs).all()


@pytest.mark.parametrize("bits", [2, 4])
def test_labels_of_few_bits_are_levels(tmp_path: Path, bits: int) -> None:
    path = formats.write_png(tmp_path / "a.png", LABELS, bits)
    assert (labels(LoadLabels(), path) == LABELS).all()


def test_minus_one_is_ignored_where_it_is_listed(tmp_path: Path) -> None:
    stored = LABELS.astype(np.int32)
    stored[0] = -1
    path = save(tmp_path / "a.tif", stored)
    expected = np.where(stored < 0, 255, stored)
    assert (labels(LoadLabels(ignore=[-1]), path) == expected).all()
    with pytest.raises(WrongLabelError, match=r"the value -1 \(8 pixels\)"):
        labels(LoadLabels(), path)


def test_wide_labels_do_not_wrap(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[0, 256, 512]], np.uint16))
    with pytest.raises(WrongLabelError, match="the values 256"):
        labels(LoadLabels(), path)
