from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from im_bench.semi.boxes import (
    boxes_from_corners,
    centred_corners,
    class_mix_masks,
    cutmix_boxes,
    half_area_boxes,
    imas_boxes,
    side_fraction,
    xor_boxes,
)

torch.set_num_threads(1)

sizes = st.integers(1, 40)
seeds = st.integers(0, 2**31)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def extents(box: torch.Tensor) -> list[torch.Tensor]:
    """Return first row, first column, height and width of boxes (B, H, W), each (B,)."""
    rows, columns = box.any(2).int(), box.any(1).int()
    return [rows.argmax(1), columns.argmax(1), rows.sum(1), columns.sum(1)]


def is_box(mask: torch.Tensor) -> torch.Tensor:
    """Return of each mask (B, H, W) whether it is a filled rectangle, or empty."""
    _, _, heights, widths = extents(mask)
    return mask.sum((1, 2)) == heights * widths


def test_a_box_holds_its_first_corner_and_not_its_last():
    box = boxes_from_corners(torch.tensor([[1, 2, 3, 5], [0, 0, 0, 0], [-2, 3, 9, 99]]), 4, 6)
    expected = torch.zeros(3, 4, 6, dtype=torch.bool)
    expected[0, 1:3, 2:5] = True
    expected[2, :, 3:] = True
    assert torch.equal(box, expected)


@given(sizes, sizes, seeds)
def test_every_box_is_one_rectangle(height, width, seed):
    draws = generator(seed)
    v = side_fraction(draws)
    for box in (
        cutmix_boxes(5, height, width, draws, probability=1),
        half_area_boxes(5, height, width, draws),
        imas_boxes(5, height, width, v, draws),
    ):
        assert box.shape == (5, height, width)
        assert box.dtype == torch.bool
        assert is_box(box).all()


@pytest.mark.parametrize(
    "draw",
    [
        cutmix_boxes,
        half_area_boxes,
        xor_boxes,
        lambda *args: imas_boxes(*args[:3], torch.tensor(0.5), args[3]),
    ],
)
def test_images_of_a_batch_differ_and_seeds_repeat(draw):
    first = draw(64, 40, 40, generator(1))
    assert torch.equal(first, draw(64, 40, 40, generator(1)))
    assert not torch.equal(first, draw(64, 40, 40, generator(2)))
    assert len(first.flatten(1).unique(dim=0)) > 20


@pytest.mark.parametrize("size", [321, 513])
def test_cutmix_boxes_are_distributed_as_the_originals(size, shared):
    recording = np.load(shared / "golden" / "unimatch__cutmix_box_stats.npz")
    box = torch.cat([cutmix_boxes(100, size, size, generator(seed)) for seed in range(20)])
    top, left, height, width = (each.double() for each in extents(box))
    drawn = height > 0
    # The share of 2000 draws varies by 0.011, that of the recorded 4000 by 0.008.
    assert abs(drawn.double().mean().item() - recording[f"s{size}_out_p_box"]) < 4 * 0.014
    areas = height * width / size**2
    mine = torch.stack([areas, height / width, top / size, left / size], 1)[drawn].numpy()
    quantiles = np.linspace(0, 1, 21)
    for column, recorded in zip(mine.T, recording[f"s{size}_out_quantiles"].T, strict=True):
        # The recorded distribution function at my quantiles: two samples of 1000 and 2000 may
        # differ by 1.95 * sqrt(1 / 1000 + 1 / 2000) in one case of a thousand.
        at_mine = np.interp(np.quantile(column, quantiles[1:-1]), recorded, quantiles)
        assert np.abs(at_mine - quantiles[1:-1]).max() < 0.076


def test_cutmix_boxes_follow_probability_area_and_shape():
    assert not cutmix_boxes(50, 30, 30, generator(), probability=0).any()
    box = cutmix_boxes(400, 100, 400, generator(), probability=1, area=(0.2, 0.3), aspect=0.5)
    _, _, height, width = (each.double() for each in extents(box))
    share = height * width / 40_000
    # Both sides are cut off to whole pixels, and the height is at least 31 of 100.
    assert share.min() > 0.2 - 0.015
    assert share.max() <= 0.3
    aspect = (height / 100) / (width / 400)
    assert aspect.min() > 0.5 * (1 - 1 / 31)
    assert aspect.max() < 2 * (1 + 1 / 50)


@given(st.integers(4, 60), st.integers(4, 60), seeds)
def test_half_area_boxes_have_half_of_the_area(height, width, seed):
    box = half_area_boxes(8, height, width, generator(seed))
    _, _, _, widths = extents(box)
    assert ((widths > width // 2) & (widths < width)).all()
    # The height is rounded: at most half a row is missing or too much.
    assert ((box.sum((1, 2)) - height * width / 2).abs() <= widths / 2 + 1e-6).all()


def test_half_area_boxes_take_every_width_and_place():
    box = half_area_boxes(4000, 12, 10, generator())
    top, left, heights, widths = extents(box)
    assert set(widths.tolist()) == {6, 7, 8, 9}
    counts = widths.bincount()[6:]
    assert (counts - 1000).abs().max() < 5 * 28  # The spread of a count of 1000 of 4000.
    for own_width in (6, 7, 8, 9):
        same = widths == own_width
        assert set(left[same].tolist()) == set(range(10 - own_width + 1))
        height = round(60 / own_width)
        assert set(heights[same].tolist()) == {height}
        assert set(top[same].tolist()) == set(range(12 - height + 1))


def test_half_area_boxes_resemble_the_recorded_ones(shared):
    for mode in ("cutout", "cutmix"):
        with np.load(shared / "golden" / "u2pl__augment.npz") as recording:
            pasted = torch.from_numpy(recording[f"{mode}_in_mask"] == 0)
        assert is_box(pasted).all()
        _, height, width = pasted.shape
        _, _, heights, widths = extents(pasted)
        assert torch.equal(heights, (height * width / 2 / widths).round().long())
        assert ((widths > width // 2) & (widths < width)).all()


def test_imas_boxes_equal_the_recorded_ones(shared):
    with np.load(shared / "golden" / "imas__cutmix.npz") as recording:
        rows = torch.from_numpy(recording["box_v_cr_cc_r0_c0_r1_c1"])
        height, width = recording["in_image"].shape[2:]
    for v, row, column, *corners in rows:
        mine = centred_corners(row.view(1), column.view(1), v, height, width)
        assert mine[0].tolist() == [float(each) for each in corners]


@given(st.integers(16, 40), st.integers(16, 40), seeds)
def test_imas_boxes_share_their_size(height, width, seed):
    draws = generator(seed)
    v = side_fraction(draws, 0.1, 0.9)
    assert v.shape == ()
    assert 0.1 <= v < 0.9
    box = imas_boxes(200, height, width, v, draws)
    top, left, heights, widths = extents(box)
    for start, length, size in ((top, heights, height), (left, widths, width)):
        full = int(size * float(v)) // 2 * 2
        assert length.max() <= full
        inside = (start > 0) & (start + length < size)
        assert (length[inside] == full).all()


def test_imas_centres_lie_between_a_sixteenth_and_the_end():
    v = torch.tensor(2.0 / 32)  # Boxes of two pixels, whose second is the centre.
    top, left, heights, _ = extents(imas_boxes(3000, 32, 32, v, generator()))
    assert set((top + 1).tolist()) == set(range(2, 32))
    assert set((left + 1).tolist()) == set(range(2, 32))
    assert set(heights.tolist()) == {2}


def test_xor_boxes_are_distributed_as_the_originals():
    height, width = 60, 90
    mine = xor_boxes(1500, height, width, generator()).double().mean((1, 2)).numpy()
    random = np.random.default_rng(0)
    theirs = np.array([xor_of_boxes(random, height, width).mean() for _ in range(1500)])
    assert same_distribution(mine, theirs)


def test_xor_boxes_are_empty_where_two_overlap():
    box = xor_boxes(200, 30, 30, generator(), boxes=2, area=(0.9, 0.9))
    # Two boxes of 0.45 of the area each: where they overlap the mask has less than both.
    shares = box.double().mean((1, 2))
    assert shares.max() <= 0.95
    assert shares.min() < 0.3
    one = xor_boxes(200, 30, 30, generator(), boxes=1)
    assert is_box(one).all()
    assert (one.double().mean((1, 2)) > 0.2).all()


@given(st.integers(1, 8), seeds)
def test_class_mix_keeps_half_of_the_classes(classes, seed):
    labels = torch.randint(0, classes, (6, 9, 7), generator=generator(seed), dtype=torch.uint8)
    pasted = class_mix_masks(labels, classes, generator(seed))
    assert pasted.dtype == torch.bool
    for own, mask in zip(labels, pasted, strict=True):
        kept, replaced = set(own[~mask].tolist()), set(own[mask].tolist())
        assert not kept & replaced
        assert len(kept) == len(own.unique()) // 2


def test_class_mix_draws_every_class_and_never_keeps_what_is_ignored():
    labels = torch.tensor([0, 3, 4, 4, 255], dtype=torch.uint8).repeat(900, 2, 1)
    pasted = class_mix_masks(labels, 6, generator())
    assert pasted[..., 4].all()
    # One of three classes stays: each in 300 images, give or take 14.
    kept = (~pasted[:, 0, :3]).sum(0)
    assert kept.sum() == 900
    assert (kept - 300).abs().max() < 5 * 14.2


def xor_of_boxes(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw one mask step by step, as the generator that CPS uses is described to do."""
    mask = np.zeros((height, width), bool)
    for _ in range(3):
        share = random.uniform(0.25, 0.5)
        tall = np.exp(random.uniform() * np.log(share))
        sides = np.round(np.array([tall, share / tall]) * np.sqrt(1 / 3) * (height, width))
        start = np.round(((height, width) - sides) * random.uniform(size=2)).astype(int)
        end = start + sides.astype(int)
        mask[start[0] : end[0], start[1] : end[1]] ^= True
    return mask


def same_distribution(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two samples agree, wrongly denied in one case of a thousand."""
    return ks_2samp(first, second).pvalue > 1e-3
