from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from im_bench.semi.hardness import (
    blend,
    confident_share,
    hardness,
    mean_iou,
    partner_by_hardness,
)

CLASSES = 4
MAPS = hnp.arrays(np.int64, (2, 3, 5), elements=st.integers(0, CLASSES - 1))
LOGITS = hnp.arrays(np.float32, (2, CLASSES, 3, 5), elements=st.floats(-9, 9, width=32))


def expected_iou(predicted, reference, weighted, ignore_background):
    ious, weights = [], []
    for c in range(CLASSES):
        union = ((predicted == c) | (reference == c)).sum()
        if union:
            ious.append(((predicted == c) & (reference == c)).sum() / union)
            background = weighted and ignore_background and c == 0
            weights.append(0 if background else (reference == c).sum() if weighted else 1)
    return np.average(ious, weights=weights) if sum(weights) else 0


@given(MAPS, MAPS, st.booleans(), st.booleans())
def test_iou_is_that_of_each_image_by_itself(predicted, reference, weighted, ignore_background):
    maps = torch.from_numpy(predicted), torch.from_numpy(reference)
    found = mean_iou(*maps, CLASSES, weighted, ignore_background)
    expected = [
        expected_iou(*pair, weighted, ignore_background)
        for pair in zip(predicted, reference, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@given(LOGITS, LOGITS, st.floats(0, 1), st.booleans())
def test_hardness_is_a_share_and_symmetric(student, teacher, threshold, normalised):
    logits = torch.from_numpy(student), torch.from_numpy(teacher)
    found = hardness(*logits, threshold, normalised=normalised)
    assert ((found >= 0) & (found <= 1 + 1e-6)).all()
    torch.testing.assert_close(found, hardness(*logits[::-1], threshold, normalised=normalised))


def test_equal_predictions_are_as_easy_as_they_are_confident():
    logits = torch.zeros(1, 3, 1, 4)
    logits[0, 1] = torch.tensor([9.0, 9.0, 9.0, 0.1])
    assert confident_share(logits, 0.7).tolist() == [0.75]
    assert hardness(logits, logits, 0.7).tolist() == [0.75]
    assert hardness(logits, logits, 0.7, normalised=True).tolist() == [1]


def test_nothing_confident_is_hard():
    logits = torch.rand(2, 3, 4, 4)
    assert hardness(logits, logits, 0.99).tolist() == [0, 0]
    assert hardness(logits, logits, 0.99, normalised=True).tolist() == [0, 0]


def test_only_the_flag_ignores_background():
    background = torch.zeros(1, 2, 2, dtype=torch.int64)
    assert mean_iou(background, background, 3) == 0
    assert mean_iou(background, background, 3, ignore_background=False) == 1
    assert mean_iou(background, background, 3, weighted=False) == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_partners_are_mutual_and_pair_easy_with_hard(values):
    values = torch.tensor(values)
    partner = partner_by_hardness(values)
    assert partner[partner].tolist() == list(range(len(values)))
    ascending = values.sort().values
    assert values[partner][values.argsort(stable=True)].tolist() == ascending.flip(0).tolist()


def test_blend_takes_its_share_of_the_strong_view():
    weak, strong = torch.zeros(3, 1, 2, 2), torch.ones(3, 1, 2, 2)
    share = torch.tensor([0.0, 0.25, 1.0])
    assert blend(weak, strong, share)[:, 0, 0, 0].tolist() == share.tolist()
    assert blend(weak, strong, share > 0.5)[:, 0, 0, 0].tolist() == [0, 0, 1]


@pytest.mark.parametrize("weighted", [False, True])
def test_hardness_reads_no_number_from_the_device(weighted):
    logits = torch.empty(2, 3, 4, 4, device="meta")  # has no numbers to read
    easy = hardness(logits, logits, weighted=weighted)
    assert partner_by_hardness(easy).shape == (2,)
