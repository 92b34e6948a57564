from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from im_bench.data.image_files import UnreadableImageError, is_deep, read_image, read_raw

from .conftest import save

RGB = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


def test_rgb_is_read_exactly(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RGB)
    assert (read_image(path, "rgb") == RGB).all()
    assert (read_raw(path) == RGB).all()


def test_alpha_is_dropped(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.dstack([RGB, np.full((2, 4), 7, dtype=np.uint8)]))
    assert (read_image(path, "rgb") == RGB).all()


def test_grey_becomes_three_equal_channels_and_back(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RGB[..., 0])
    assert (read_image(path, "rgb") == RGB[..., :1]).all()
    assert (read_image(path, "grey") == RGB[..., :1]).all()


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[0, 255, 256, 65535]], dtype=np.uint16))
    assert read_image(path, "grey")[..., 0].tolist() == [[0, 0, 1, 255]]


def test_orientation_tags_are_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    assert read_image(tmp_path / "a.png", "rgb").shape == RGB.shape


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
        read_raw(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(UnreadableImageError, match="no readable image"):
        read_raw(tmp_path / "text.png")


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 3)])
def test_16_bits_are_recognised(suffix: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    for kind in (np.uint8, np.uint16):
        path = tmp_path / f"{kind.__name__}.{suffix}"
        assert cv2.imwrite(str(path), np.ones(shape, kind))
        assert is_deep(path) == (kind is np.uint16)


def test_what_is_no_image_has_no_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"no image")
    assert not is_deep(path)
    assert not is_deep(tmp_path / "none.png")
