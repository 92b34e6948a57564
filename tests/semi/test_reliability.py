from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from im_bench.data.label_spaces import IGNORED
from im_bench.semi.reliability import (
    entropy,
    masked_percentiles,
    nearest,
    reliability_masks,
    unlabelled_loss,
    without_unreliable,
)

VALUES = hnp.arrays(
    np.float32, st.integers(1, 60), elements=st.floats(-1e3, 1e3, width=32), unique=False
)


@settings(max_examples=100, deadline=None)
@given(values=VALUES, percent=st.floats(0, 100), data=st.data())
def test_percentiles_are_numpys(values, percent, data):
    mask = data.draw(hnp.arrays(bool, values.shape).filter(np.any))
    found = masked_percentiles(torch.from_numpy(values), torch.from_numpy(mask), [percent, 50.0])
    expected = [np.percentile(values[mask], each) for each in (percent, 50.0)]
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-4)


def test_a_percentile_that_falls_on_a_value_is_that_value():
    values = torch.rand(101)  # ">=" would lose the pixel if it were rounded
    found = masked_percentiles(values, torch.ones_like(values, dtype=torch.bool), range(101))
    assert torch.equal(found, values.sort().values)


def test_percentiles_of_nothing_are_no_number_and_ignore_nothing():
    values = torch.rand(2, 3, 3)
    nothing = torch.zeros_like(values, dtype=torch.bool)
    (limit,) = masked_percentiles(values, nothing, [80])
    assert limit.isnan()
    target = torch.zeros(2, 3, 3, dtype=torch.long)
    assert (without_unreliable(target, values, limit) == 0).all()


def test_entropy_is_largest_where_all_classes_are_as_probable():
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [50.0, 0.0, 0.0, 0.0]]).view(2, 4, 1, 1)
    torch.testing.assert_close(
        entropy(logits).flatten(), torch.tensor([4.0, 1.0]).log(), atol=1e-6, rtol=1e-6
    )


def test_what_is_ignored_raises_the_loss_of_the_others():
    logits = torch.randn(2, 3, 4, 4)
    target = torch.randint(3, (2, 4, 4))
    target[0] = IGNORED
    expected = 2 * F.cross_entropy(logits[1:], target[1:])
    torch.testing.assert_close(unlabelled_loss(logits, target), expected)


def test_the_loss_is_0_with_a_gradient_where_all_is_ignored():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = unlabelled_loss(logits, torch.full((1, 2, 2), IGNORED))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("high_only", [True, False])
def test_labelled_pixels_are_reliable_and_unreliable_at_once(high_only):
    truth = torch.tensor([[[0, IGNORED, 1]]])
    label = torch.tensor([[[0, IGNORED, 1]]])
    masks = reliability_masks(
        truth,
        label,
        torch.tensor([[[0.1, 0.1, 0.9]]]),
        torch.tensor(0.1),
        torch.tensor(0.9),
        high_only,
    )
    assert masks.low.tolist() == [[[True, False, True]], [[True, False, False]]]
    unreliable = [False, False, True] if high_only else [True, True, True]
    assert masks.high.tolist() == [[[True, False, True]], [unreliable]]


def test_nearest_pixels_keep_labels_and_entropies_together():
    labels = torch.randint(256, (2, 9, 13))
    small = nearest(labels, (4, 5))
    assert torch.equal(small.float(), nearest(labels.float(), (4, 5)))
    assert set(small.flatten().tolist()) <= set(labels.flatten().tolist())
