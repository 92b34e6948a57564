from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from im_bench.evaluation import presence
from im_bench.evaluation.overlap import Counts, multiclass_counts


def counts(predicted, truth):
    """Counts of one image; the intersection does not matter here."""
    tensors = [torch.tensor([each]).double() for each in (predicted, truth)]
    return Counts(torch.zeros(1, len(truth)).double(), *tensors)


def test_a_class_shows_if_it_covers_more_than_a_hundredth():
    of = counts([0, 0, 0], [975, 10, 15])
    assert presence.class_shares(of).tolist() == [[0.975, 0.01, 0.015]]
    assert presence.shown_classes(of).tolist() == [[True, False, True]]


def test_a_class_survives_by_ratio_or_by_share():
    of = counts([50, 3, 1, 20, 0, 26], [0, 4, 10, 80, 6, 0])
    assert presence.surviving_classes(of, 0.5).tolist() == [[True, True, False, True, False, True]]


def test_void_needs_one_pixel_to_survive():
    assert presence.surviving_classes(counts([1, 99], [0, 100]), 0.5)[0, 0]
    assert not presence.surviving_classes(counts([0, 100], [90, 10]), 0.5)[0, 0]


def test_class_0_scores_1_where_only_the_prediction_has_it():
    truth = torch.tensor([[[1, 1, 2, 2]]]).byte()
    predicted = torch.tensor([[[0, 1, 2, 3]]]).byte()
    values = presence.class_ious(multiclass_counts(predicted, truth, 4))
    torch.testing.assert_close(values, torch.tensor([[1, 0.5, 0.5, 0]]).double(), atol=1e-6, rtol=0)


def official_class_ious(predicted, truth, classes):
    """Written from the description in the recordings: plain IoU, rounded by numpy's scalars."""
    values = [0.0] * classes
    for k in range(classes):
        if (truth == k).any():
            both, either = (predicted == k) & (truth == k), (predicted == k) | (truth == k)
            values[k] = round(both.sum() / either.sum(), 4)
        elif k == 0 and (predicted == 0).any():
            values[k] = 1.0
    return values


@given(st.integers(0, 2**32 - 1), st.sampled_from([(4, 8), (8, 16), (16, 20), (25, 32), (40, 50)]))
@settings(max_examples=80, deadline=None)
def test_class_ious_round_as_the_originals(seed, size):
    """Many of these sizes give halves of the last digit, such as 3/32 = 0.09375."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, size).astype(np.uint8)
    changed = rng.random(size) < rng.random()
    predicted = np.where(changed, rng.integers(0, 6, size), truth).astype(np.uint8)
    maps = (torch.from_numpy(each)[None] for each in (predicted, truth))
    ours = presence.class_ious(multiclass_counts(*maps, 6)).round(decimals=4)[0]
    assert ours.tolist() == official_class_ious(predicted, truth, 6)


def test_a_half_is_not_rounded_down():
    truth, predicted = torch.zeros(1, 4, 8).byte(), torch.ones(1, 4, 8).byte()
    predicted[0, 0, :3] = 0
    ious = presence.class_ious(multiclass_counts(predicted, truth, 2)).round(decimals=4)
    assert ious.tolist() == [[0.0938, 0]]  # of 3/32
