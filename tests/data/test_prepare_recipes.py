"""What each data set's own preprocessing does to its pixels."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from im_bench.data.description import DataDescription
from im_bench.data.prepare import DATA_SETS, cityscapes, find_recipe, hela, isic2018, suim
from im_bench.data.prepare.recipe import Sample, draw
from im_bench.errors import ImBenchError

RNG = np.random.default_rng(0)


def photo(width: int, height: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def test_descriptions_are_valid() -> None:
    outputs = {}
    for name in DATA_SETS:
        recipe = find_recipe(name)
        fields = {"name": name, "encoding": "labels", **recipe.description}
        outputs[name] = DataDescription.model_validate(fields).outputs
    assert outputs.items() >= {"isic2018": 1, "hela": 3, "suim": 9, "cityscapes": 35}.items()


def samples(count: int) -> list[Sample]:
    return [Sample(f"{index:05d}", "", ()) for index in range(count)]


@pytest.mark.parametrize(
    ("name", "training", "labelled"),
    [("isic2018", 2594, 259), ("suim", 1372, 138), ("cityscapes", 2975, 297)],
)
def test_labelled_counts_are_those_of_the_paper(name: str, training: int, labelled: int) -> None:
    assert find_recipe(name).labelled_count(training) == labelled


def test_suim_splits_have_the_sizes_of_the_paper() -> None:
    divided = suim.divide({"train": samples(1525), "test": samples(110)})
    assert {split: len(some) for split, some in divided.items()} == {
        "train": 1372,
        "val": 153,
        "test": 110,
    }


def test_cityscapes_validation_images_are_halved() -> None:
    divided = cityscapes.divide({"train": samples(3), "val": samples(500)})
    val, test = ({sample.name for sample in divided[split]} for split in ("val", "test"))
    assert len(val) == len(test) == 250
    assert not val & test


@given(st.integers(1, 50), st.data())
def test_draw_divides(count: int, data: st.DataObject) -> None:
    chosen_count = data.draw(st.integers(0, count))
    chosen, rest = draw(samples(count), chosen_count)
    assert len(chosen) == chosen_count
    assert sorted(chosen + rest) == samples(count)


def test_isic_border_pixels_count_in_evaluation_only() -> None:
    image, mask = photo(64, 64), np.zeros((64, 64), np.uint8)
    mask[16:49, 16:49] = 255
    label = {
        split: next(isic2018.convert(image, [mask], split, (24, 24), RNG)).label
        for split in ("train", "val", "test")
    }
    resized = cv2.resize(mask, (24, 24), interpolation=cv2.INTER_LINEAR)
    assert ((resized > 0) & (resized < 255)).any()
    assert (label["train"] == (resized == 255)).all()
    assert (label["val"] == (resized > 0)).all()
    assert (label["test"] == (resized > 0)).all()


def test_hela_crops_of_a_photograph() -> None:
    # round(1000 / 102.4) = 10 crops, the last two of which the border makes the same.
    starts = [start for _, start in hela.crop_starts(1000, 256)]
    assert starts == [0, 100, 200, 300, 400, 500, 600, 700, 744]


@given(st.integers(16, 64), st.integers(0, 500))
def test_hela_crops_cover_the_photograph(crop: int, extra: int) -> None:
    starts = [start for _, start in hela.crop_starts(crop + extra, crop)]
    assert starts[0] == 0
    assert all(0 < later - sooner <= crop for sooner, later in pairwise(starts))
    assert max(starts) <= extra


def test_hela_crop_is_cut_from_image_and_masks_alike() -> None:
    grey = RNG.integers(0, 256, (90, 70), np.uint8)
    masks = [RNG.integers(0, 30, (90, 70), np.uint8) for _ in range(3)]
    pieces = list(
        hela.convert(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), masks, "train", (32, 32), RNG)
    )
    assert len({piece.suffix for piece in pieces}) == len(pieces) > 4
    expected = sum((mask > 10).astype(np.uint8) << bit for bit, mask in enumerate(masks))
    last = pieces[-1]
    assert (last.image == grey[-32:, -32:]).all()
    assert (last.label == expected[-32:, -32:]).all()


def test_hela_photograph_smaller_than_a_crop() -> None:
    with pytest.raises(ImBenchError, match="20 pixels a side is too small for crops of 32"):
        hela.crop_starts(20, 32)


def test_suim_colours() -> None:
    codes = {  # RGB, from the data set's page
        (0, 0, 0): "water",
        (0, 0, 255): "diver",
        (0, 255, 0): "plants",
        (0, 255, 255): "wreck",
        (255, 0, 0): "robot",
        (255, 0, 255): "reef",
        (255, 255, 0): "fish",
        (255, 255, 255): "sea_floor",
    }
    bgr = np.array([[colour[::-1] for colour in codes]], np.uint8)
    named = [suim.CLASSES[index] for index in suim.class_index(bgr)[0]]
    assert named == list(codes.values())
    blurred = np.clip(bgr.astype(int) + RNG.integers(-100, 100, bgr.shape), 0, 255)
    assert (suim.class_index(blurred.astype(np.uint8)) == suim.class_index(bgr)).all()


@given(st.integers(20, 200), st.integers(20, 200), st.integers(0, 2**32))
def test_suim_crops_are_squares_of_the_image(width: int, height: int, seed: int) -> None:
    colours = np.zeros((height, width, 3), np.uint8)
    colours[:, width // 2 :] = 255
    image = colours.copy()
    pieces = list(suim.convert(image, [colours], "train", (64, 64), np.random.default_rng(seed)))
    assert [piece.suffix for piece in pieces] == ["_0", "_1"]
    for piece in pieces:
        assert piece.image.shape == (64, 64, 3)
        assert piece.label.shape == (64, 64)
        assert set(np.unique(piece.label)) <= {1, 8}
        # Image and label are cut alike: they differ at the resized border only.
        different = (piece.image[..., 0] > 127) != (piece.label == 8)
        assert different.any(axis=0).sum() <= max(2, 64 // min(width, height) + 2)


def test_suim_masks_of_another_size_are_allowed() -> None:
    assert suim.RECIPE.masks_may_differ
    assert not any(
        find_recipe(name).masks_may_differ for name in ("isic2018", "hela", "cityscapes")
    )


def test_cityscapes_size_and_ids() -> None:
    assert cityscapes.reduced_size(2048, 1024) == (416, 208)
    ids = np.arange(34, dtype=np.uint8).repeat(4)[None].repeat(4, axis=0)
    piece = next(cityscapes.convert(photo(136, 4), [ids], "train", (136, 4), RNG))
    assert (piece.label == np.where(ids > 0, ids + 1, 0)).all()
    assert cityscapes.CLASSES[7] == "road"
    assert cityscapes.CLASSES[33] == "bicycle"
