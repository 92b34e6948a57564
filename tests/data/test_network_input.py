from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from im_bench.data.network_input import network_input, resize_image, resize_labels

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("fit", "size"), [("resize", (12, 20)), ("pad", (9, 15)), ("own", (9, 15))]
)
def test_only_a_suite_that_resizes_changes_an_image(
    channels: int, fit: str, size: tuple[int, int]
) -> None:
    image = RNG.integers(0, 256, (9, 15, channels), dtype=np.uint8)
    given = network_input(image, {"fit": fit, "size": [20, 12]})
    assert given.pixels.shape == (*size, channels)
    assert given.own_size == (15, 9)
    assert (given.pixels is image) == (fit != "resize")
    labels = RNG.integers(0, 2, size, dtype=np.uint8)
    assert given.in_own_size(labels).shape == (9, 15)


@pytest.mark.parametrize("large", [(60, 42), (45, 70), (31, 21)])
def test_labels_come_back_to_where_they_were(large: Any) -> None:
    """Enlarged and reduced by nearest pixels, a label map is what it was."""
    labels = RNG.integers(0, 256, (21, 15), dtype=np.uint8)
    assert (resize_labels(resize_labels(labels, large), (15, 21)) == labels).all()


def test_an_image_of_one_colour_keeps_it() -> None:
    image = np.full((7, 5, 3), 77, np.uint8)
    for size in ((3, 2), (9, 30), (3, 30)):
        assert (resize_image(image, size) == 77).all()
