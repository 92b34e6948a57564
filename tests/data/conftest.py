"""Small data sets on disk for the tests of `im_bench.data`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

WriteData = Callable[..., Path]


def save(path: Path, pixels: NDArray[Any]) -> Path:
    """Write pixels as an image file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def write_data(tmp_path: Path) -> WriteData:
    """Return a function that writes a data set of random images and masks of 0 and 1.

    Its arguments are the number of images of each split, the images' size (width, height), and
    fields that replace those of the description. It returns the folder.
    """

    def write(
        counts: dict[str, int] | None = None, size: tuple[int, int] = (8, 6), **fields: Any
    ) -> Path:
        rng = np.random.default_rng(0)
        for split, count in (counts or {"train": 4, "val": 2, "test": 2}).items():
            for index in range(count):
                image = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                mask = rng.integers(0, 2, (size[1], size[0]), dtype=np.uint8)
                mask[0, :2] = 0, 1
                save(tmp_path / "images" / split / f"{split}-{index}.png", image)
                save(tmp_path / "masks" / split / f"{split}-{index}.png", mask)
        description = {
            "name": "spots",
            "space": "binary",
            "classes": ["spot"],
            "encoding": "index",
            **fields,
        }
        (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(description), encoding="utf-8")
        return tmp_path

    return write
