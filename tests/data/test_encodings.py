from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from im_bench.data.description import DataDescription
from im_bench.data.encodings import read_label
from im_bench.data.image_files import WrongLabelError

from .conftest import save

PALETTE = {"road": [0, 0, 0], "car": [255, 0, 0], "tree": [0, 1, 0]}
BINARY = DataDescription(name="a", space="binary", classes=("spot",), encoding="index")
STREETS = DataDescription(
    name="a", space="multiclass", classes=("road", "car", "tree"), encoding="index"
)
LAYERS = DataDescription(
    name="a", space="multilabel", classes=("alive", "dead", "position"), encoding="bits"
)

maps = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 2)
)
each_example_its_own_files = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def like(description: DataDescription, **fields: Any) -> DataDescription:
    return DataDescription.model_validate({**description.model_dump(exclude_unset=True), **fields})


def read(description: DataDescription, path: Path, *pixels: Any) -> NDArray[np.uint8]:
    """Write each argument as a mask file and read them as one label map."""
    paths = [
        save(path / f"{index}.png", np.asarray(each, dtype=getattr(each, "dtype", np.uint8)))
        for index, each in enumerate(pixels)
    ]
    label = read_label(description, paths)
    assert label.dtype == np.uint8
    return label


@each_example_its_own_files
@given(maps)
def test_index_masks_count_the_listed_classes(tmp_path: Path, index: NDArray[np.uint8]) -> None:
    assert (read(STREETS, tmp_path, index) == index).all()
    assert (read(like(STREETS, reserve_zero=True), tmp_path, index) == index + 1).all()


@each_example_its_own_files
@given(maps)
def test_colours_count_the_listed_classes(tmp_path: Path, index: NDArray[np.uint8]) -> None:
    coloured = like(STREETS, encoding="palette", palette=PALETTE)
    pixels = np.array(list(PALETTE.values()), dtype=np.uint8)[index]
    assert (read(coloured, tmp_path, pixels) == index).all()


@each_example_its_own_files
@given(hnp.arrays(np.uint8, (3, 4, 5), elements=st.integers(0, 255)), st.integers(0, 254))
def test_one_file_per_class_sets_its_bit(
    tmp_path: Path, grey: NDArray[np.uint8], threshold: int
) -> None:
    files = like(LAYERS, encoding="files", mask_suffix="_{class}", threshold=threshold)
    label = read(files, tmp_path, *grey)
    for bit in range(3):
        assert ((label >> bit & 1) == (grey[bit] > threshold)).all()


@each_example_its_own_files
@given(hnp.arrays(np.uint8, (4, 5), elements=st.integers(0, 7)))
def test_bit_masks_are_label_bytes(tmp_path: Path, bits: NDArray[np.uint8]) -> None:
    assert (read(LAYERS, tmp_path, bits) == bits).all()
    assert (read(like(LAYERS, encoding="labels"), tmp_path, bits) == bits).all()


def test_of_bit_masks_binary_data_take_the_first_bit(tmp_path: Path) -> None:
    first = like(BINARY, encoding="bits", ignore=[255])
    assert read(first, tmp_path, [[0, 1, 2, 3, 254, 255]]).tolist() == [[0, 1, 0, 1, 0, 255]]


def test_later_classes_cover_earlier_ones(tmp_path: Path) -> None:
    files = like(STREETS, encoding="files", mask_suffix="_{class}", ignore=[9])
    road, car, tree = [[1, 1, 1, 0, 0]], [[0, 1, 1, 0, 9]], [[0, 0, 1, 0, 0]]
    assert read(files, tmp_path, road, car, tree).tolist() == [[0, 1, 2, 255, 255]]
    reserved = like(files, reserve_zero=True)
    assert read(reserved, tmp_path, road, car, tree).tolist() == [[1, 2, 3, 0, 255]]


def test_binary_masks_are_cut_at_the_threshold(tmp_path: Path) -> None:
    grey = [[0, 1, 127, 128, 254, 255]]
    assert read(BINARY, tmp_path, grey).tolist() == [[0, 1, 1, 1, 1, 1]]
    cut = like(BINARY, threshold=127, ignore=[255])
    assert read(cut, tmp_path, grey).tolist() == [[0, 0, 0, 1, 1, 255]]


def test_one_bit_masks_are_true_or_false_at_any_threshold(tmp_path: Path) -> None:
    mask = np.array([[True, False]])
    assert read(like(BINARY, threshold=127), tmp_path, mask).tolist() == [[1, 0]]
    assert read(STREETS, tmp_path, mask).tolist() == [[1, 0]]


def test_ignored_values_become_255(tmp_path: Path) -> None:
    ignoring = like(STREETS, reserve_zero=True, ignore=[11, 255])
    assert read(ignoring, tmp_path, [[0, 2, 11, 255]]).tolist() == [[1, 3, 255, 255]]


def test_ignored_colours_become_255(tmp_path: Path) -> None:
    coloured = like(STREETS, encoding="palette", palette=PALETTE, ignore=[[255, 255, 255]])
    pixels = [[[255, 255, 255], [0, 1, 0]]]
    assert read(coloured, tmp_path, pixels).tolist() == [[255, 2]]


def test_a_binary_palette_has_a_black_background_unless_told(tmp_path: Path) -> None:
    coloured = like(BINARY, encoding="palette", palette={"spot": [9, 0, 0]})
    assert read(coloured, tmp_path, [[[0, 0, 0], [9, 0, 0]]]).tolist() == [[0, 1]]
    white = like(coloured, palette={"spot": [0, 0, 0], "background": [255, 255, 255]})
    assert read(white, tmp_path, [[[0, 0, 0], [255, 255, 255]]]).tolist() == [[1, 0]]


def test_label_bytes_are_read_as_they_are(tmp_path: Path) -> None:
    labels = like(STREETS, encoding="labels", reserve_zero=True)
    assert read(labels, tmp_path, [[0, 1, 3, 255]]).tolist() == [[0, 1, 3, 255]]
    assert read(like(BINARY, encoding="labels"), tmp_path, [[0, 1, 255]]).tolist() == [[0, 1, 255]]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_wide_integers_are_read_exactly(tmp_path: Path, dtype: type) -> None:
    wide = like(STREETS, ignore=[1000])
    path = save(tmp_path / "mask.tif", np.array([[0, 2, 1000]], dtype=dtype))
    assert read_label(wide, [path]).tolist() == [[0, 2, 255]]
    path = save(tmp_path / "mask.tif", np.array([[0, 258, 1000]], dtype=dtype))
    with pytest.raises(WrongLabelError, match=r"the value 258 \(1 pixel\)"):
        read_label(wide, [path])


def test_paletted_files_hold_indices_or_colours(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 1, 0])
    image.save(tmp_path / "mask.png")
    for description in (STREETS, like(STREETS, encoding="palette", palette=PALETTE)):
        assert read_label(description, [tmp_path / "mask.png"]).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_repeated_and_alpha_channels_are_dropped(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8))
    grey.convert(mode).save(tmp_path / "mask.png")
    assert read_label(STREETS, [tmp_path / "mask.png"]).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("description", "pixels", "expected"),
    [
        (
            STREETS,
            [[3, 7, 7]],
            r"the values 7 \(2 pixels\), 3 \(1 pixel\), but the labels are 0 to 2",
        ),
        (like(STREETS, reserve_zero=True), [[3]], r"the value 3 \(1 pixel\)"),
        (LAYERS, [[8]], r"the value 8 \(1 pixel\), but the labels are 0 to 7"),
        (
            like(BINARY, encoding="labels"),
            [[2]],
            r"the value 2 \(1 pixel\), but the labels are 0 to 1",
        ),
        (STREETS, [list(range(250))], r"and 242 more"),
        (STREETS, [[[1, 2, 3]]], r"is a colour image: describe its colours"),
        (
            like(STREETS, encoding="palette", palette=PALETTE),
            [[[1, 2, 3], [0, 0, 0]]],
            r"the palette lacks the colour \[1, 2, 3\] \(1 pixel\)",
        ),
    ],
)
def test_what_stands_for_no_label_is_told(
    tmp_path: Path, description: DataDescription, pixels: Any, expected: str
) -> None:
    with pytest.raises(WrongLabelError, match=rf"0\.png: .*{expected}"):
        read(description, tmp_path, pixels)


def test_fractional_masks_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "mask.tif", np.array([[0.5]], dtype=np.float32))
    with pytest.raises(WrongLabelError, match="fractional"):
        read_label(STREETS, [path])


def test_masks_of_one_image_need_one_size(tmp_path: Path) -> None:
    files = like(LAYERS, encoding="files", mask_suffix="_{class}")
    with pytest.raises(WrongLabelError, match=r"1\.png: is 3x1 pixels but .*0\.png is 2x1"):
        read(files, tmp_path, [[0, 0]], [[0, 0, 0]], [[0, 0]])
