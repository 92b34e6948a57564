from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from im_bench.evaluation import cells

points = nps.arrays(np.int64, st.tuples(st.integers(0, 12), st.just(2)), elements=st.integers(0, 6))


def position_map(*centres, radius=5, size=(60, 80)):
    canvas = np.zeros(size, np.uint8)
    for centre in centres:
        cv2.circle(canvas, centre, radius, 255, cv2.FILLED)
    return canvas


def test_centres_lie_one_pixel_right_and_below():
    found = cells.cell_centres(position_map((20, 30), (50, 15)))
    assert sorted(map(tuple, found)) == [(21, 31), (51, 16)]


def test_a_ring_is_two_cells_and_what_has_no_area_is_none():
    ring = position_map((20, 30), radius=9)
    ring[27:34, 17:24] = 0
    assert len(cells.cell_centres(ring)) == 2
    speck = np.zeros((20, 20), np.uint8)
    speck[5, 5] = speck[10, 3:9] = 255
    assert cells.cell_centres(speck, erode=0).shape == (0, 2)


def test_erosion_parts_cells_that_touch():
    touching = position_map((20, 30), (32, 30), radius=5)
    touching[30, 20:32] = 255
    assert len(cells.cell_centres(touching, erode=0)) == 1
    assert len(cells.cell_centres(touching)) == 2


@given(points)
def test_nearest_distance_is_to_the_nearest_other_place(of):
    gaps = np.linalg.norm(of[:, None] - of[None], axis=2)
    expected = [min(row[row > 0], default=0) for row in gaps]
    np.testing.assert_allclose(cells.nearest_distances(of), expected)


@pytest.mark.parametrize(("gap", "radius"), [(8, 3), (20, 5), (27, 6), (60, 8)])
def test_radius_is_a_quarter_of_the_gap_within_bounds(gap, radius):
    drawn = cells.redraw_positions(position_map((8, 30), (8 + gap, 30), radius=3))
    assert np.count_nonzero(drawn[31, : 9 + gap // 2]) == 2 * radius + 1


def test_a_lone_cell_is_drawn_large_for_training_and_small_for_counting():
    lone = position_map((40, 30))
    assert np.count_nonzero(cells.redraw_positions(lone)[31]) == 2 * 8 + 1
    # The blur takes the left column and the upper row.
    counted = cells.redraw_positions_for_counting(lone)
    assert np.count_nonzero(counted[32]) < 2 * 3 + 1
    assert not counted[31 - 3].any()
    assert set(np.unique(counted)) == {0, 255}


@pytest.mark.parametrize("redraw", [cells.redraw_positions, cells.redraw_positions_for_counting])
def test_an_empty_map_stays_empty(redraw):
    assert not redraw(np.zeros((20, 30), np.uint8)).any()


def test_cells_are_what_most_of_their_surroundings_are():
    alive, dead = np.zeros((2, 40, 40), np.uint8)
    alive[:, :14] = 255
    dead[:, 14:30] = 11
    dead[:, 30:] = 9  # not visible
    centres = np.array([[8, 20], [20, 20], [14, 20], [36, 20]])
    assert cells.count_cells(centres, alive, dead) == (1, 1, 2)


def test_no_cells_no_counts():
    empty = np.zeros((20, 20), np.uint8)
    assert cells.count_cells(cells.cell_centres(empty), empty, empty) == (0, 0, 0)


@given(st.integers(0, 20), st.integers(0, 16), st.integers(0, 99))
def test_windows_move_inside_at_the_border(x, y, seed):
    alive, dead = np.random.default_rng(seed).integers(0, 2, (2, 16, 20), np.uint8) * 255
    counts = cells.count_cells(np.array([[x, y]]), alive, dead)
    column = x + 3 if x <= 3 else min(x, 17)
    row = y + 3 if y < 3 else min(y, 13)
    window = np.s_[row - 3 : row + 3, column - 3 : column + 3]
    balance = int((alive[window] > 0).sum()) - int((dead[window] > 0).sum())
    assert counts == (balance > 0, balance < 0, balance == 0)


def test_a_window_that_touches_the_left_border_moves_but_at_the_upper_it_stays():
    left, top = np.zeros((2, 20, 20), np.uint8)
    left[:, :3] = 255
    top[:3] = 255
    centre = np.array([[3, 10]])
    assert cells.count_cells(centre, left, ~left) == (0, 1, 0)
    assert cells.count_cells(centre[:, ::-1], top, ~top) == (0, 0, 1)


def test_only_the_position_bit_is_redrawn():
    maps = [position_map((20, 30)), position_map((30, 20), (60, 40))]
    position = torch.from_numpy(np.stack(maps) // 255)
    others = torch.randint(0, 4, position.shape, generator=torch.manual_seed(0)).byte() * 2
    drawn = cells.redraw_position_bits(others | position, {"alive": 1, "dead": 2, "position": 0})
    assert torch.equal(drawn & 0b110, others)
    expected = np.stack([cells.redraw_positions(each) for each in maps]) > 0
    assert torch.equal((drawn & 1).bool(), torch.from_numpy(expected))
