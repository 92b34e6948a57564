from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from im_bench.masks import consensus, mean_ensemble, unanimous_ensemble

from .strategies import predictions, spaces


def test_mean_probability_decides_not_the_majority():
    votes = torch.tensor([0.4, 0.4, 0.9]).reshape(3, 1, 1, 1, 1)
    assert mean_ensemble(votes, "binary").item() == 1
    assert mean_ensemble(votes, "binary", threshold=0.6).item() == 0


def test_the_threshold_itself_is_background():
    assert mean_ensemble(torch.full((2, 1, 1, 1, 1), 0.5), "binary").item() == 0


def test_classes_are_independent_bits_or_exclude_each_other():
    probabilities = torch.tensor([0.6, 0.2, 0.7]).reshape(1, 1, 3, 1, 1)
    assert mean_ensemble(probabilities, "multilabel").item() == 0b101
    assert mean_ensemble(probabilities, "multiclass").item() == 2


def test_a_tie_goes_to_the_lowest_class():
    assert mean_ensemble(torch.full((2, 1, 4, 3, 3), 0.25), "multiclass").eq(0).all()


@given(spaces.flatmap(lambda space: st.tuples(st.just(space), predictions(space))))
def test_unanimity_is_the_consensus(case):
    space, teachers = case
    assert torch.equal(unanimous_ensemble(teachers, space), consensus(teachers, space).labels)
