from __future__ import annotations

import torch

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
