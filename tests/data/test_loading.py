from __future__ import annotations

import numpy as np
from PIL import Image

from im_bench.data.loading import LoadRGBImage


def test_channels_are_red_green_blue(tmp_path):
    pixels = np.random.default_rng(0).integers(255, size=(4, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    loaded = LoadRGBImage()({"img_path": str(tmp_path / "image.png")})
    assert np.array_equal(loaded["img"], pixels)
