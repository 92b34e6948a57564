from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from im_bench.data.pictures import colour, colour_table, overlay, palette, strip, write_png


def test_colours_differ_and_do_not_depend_on_the_count() -> None:
    many = palette(34)
    assert len({tuple(row) for row in many.tolist()}) == 34
    np.testing.assert_array_equal(palette(5), many[:5])


@pytest.mark.parametrize(("space", "outputs"), [("binary", 1), ("multiclass", 9)])
def test_background_is_black_and_ignored_is_grey(space: str, outputs: int) -> None:
    table = colour_table(space, outputs)
    assert table[0].tolist() == [0, 0, 0]
    assert table[255].tolist() == [128, 128, 128]
    assert table[1].any()


def test_classes_that_overlap_are_mixed() -> None:
    table = colour_table("multilabel", 3).astype(int)
    np.testing.assert_allclose(table[0b011], (table[1] + table[2]) / 2, atol=1)
    np.testing.assert_allclose(table[0b111], (table[1] + table[2] + table[4]) / 3, atol=1)


def test_overlay_leaves_the_background_alone() -> None:
    image = np.full((4, 5, 1), 60, np.uint8)
    labels = np.zeros((4, 5), np.uint8)
    labels[1, 1] = 1
    picture = overlay(image, labels, "binary", 1)
    assert picture.shape == (4, 5, 3)
    assert (picture[labels == 0] == 60).all()
    mixed = (60 + colour(labels, "binary", 1)[1, 1].astype(int)) / 2
    np.testing.assert_allclose(picture[1, 1], mixed, atol=1)


def test_a_strip_is_written_in_true_colours(tmp_path: Path) -> None:
    red = np.zeros((3, 2, 3), np.uint8)
    red[..., 0] = 200
    picture = strip([red, red], gap=1)
    assert picture.shape == (3, 5, 3)
    write_png(tmp_path / "strip.png", picture)
    read = cv2.cvtColor(cv2.imread(str(tmp_path / "strip.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(read, picture)


def test_label_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2], [3, 254, 255]], np.uint8)
    write_png(tmp_path / "labels.png", labels)
    read = cv2.imread(str(tmp_path / "labels.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, labels)
