from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from im_bench.data.image_files import inspect, read_image, read_mask
from im_bench.data.image_headers import UnreadableImageError

from .conftest import save

RGB = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


def test_rgb_is_read_exactly(tmp_path: Path) -> None:
    assert (read_image(save(tmp_path / "a.png", RGB), "rgb") == RGB).all()


def test_alpha_that_is_the_same_everywhere_is_dropped(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.dstack([RGB, np.full((2, 4), 7, dtype=np.uint8)]))
    assert (read_image(path, "rgb") == RGB).all()


def test_grey_becomes_three_equal_channels_and_back(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RGB[..., 0])
    assert (read_image(path, "rgb") == RGB[..., :1]).all()
    assert (read_image(path, "grey") == RGB[..., :1]).all()


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
def test_damaged_files_are_told(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", noise)
    content = path.read_bytes()
    for length in (len(content) // 2, 10, 0):
        path.write_bytes(content[:length])
        with pytest.raises(UnreadableImageError, match=rf"a\.{suffix}: is .*: replace it"):
            read_image(path, "rgb")


def test_missing_and_foreign_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="does not exist"):
        read_mask(tmp_path / "none.png")
    with pytest.raises(UnreadableImageError, match="is a folder"):
        read_mask(tmp_path)
    (tmp_path / "text.png").write_text("hello")
    for read in (read_mask, inspect):
        with pytest.raises(UnreadableImageError, match="no readable image"):
            read(tmp_path / "text.png")


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 3)])
def test_16_bits_are_recognised(suffix: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    for kind in (np.uint8, np.uint16):
        path = tmp_path / f"{kind.__name__}.{suffix}"
        assert cv2.imwrite(str(path), np.ones(shape, kind))
        facts = inspect(path)
        assert (facts.dtype, facts.size, facts.is_plain) == (
            kind.__name__,
            (4, 2),
            kind is np.uint8,
        )


def test_headers_of_png_files_are_read_without_their_pixels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RGB)
    content = path.read_bytes()
    cut = content.index(b"IDAT") + 6
    path.write_bytes(content[:cut])
    assert inspect(path).size == (4, 2)


def test_size_is_as_stored_and_orientation_beside_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("png", "jpg", "tif", "webp"):
        Image.fromarray(RGB).save(tmp_path / f"a.{suffix}", exif=exif)
        facts = inspect(tmp_path / f"a.{suffix}")
        assert (facts.size, facts.orientation, facts.is_plain) == ((4, 2), 6, False)
