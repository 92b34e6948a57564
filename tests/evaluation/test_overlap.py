from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from mmseg.evaluation import IoUMetric

from im_bench.errors import ImBenchError
from im_bench.evaluation import overlap

CLASSES = 4
SHAPE = (3, 4, 5)


def maps(*values):
    return nps.arrays(np.uint8, SHAPE, elements=st.sampled_from(values)).map(torch.from_numpy)


def naive(predicted, truth):
    """Intersection, predicted and true pixels of boolean maps, image by image."""
    return [
        [float((p & t).sum()), float(p.sum()), float(t.sum())]
        for p, t in zip(predicted, truth, strict=True)
    ]


@given(maps(0, 1), maps(0, 1, 255))
def test_binary_counts_leave_ignored_pixels_out(predicted, truth):
    counts = overlap.binary_counts(predicted, truth)
    valid = truth != 255
    expected = naive((predicted == 1) & valid, truth == 1)
    assert torch.stack([*counts], 1)[..., 0].tolist() == expected


@given(maps(*range(CLASSES)), maps(*range(CLASSES), 255))
def test_multiclass_counts_are_binary_counts_of_each_class(predicted, truth):
    counts = overlap.multiclass_counts(predicted, truth, CLASSES)
    for c in range(CLASSES):
        expected = naive((predicted == c) & (truth != 255), truth == c)
        assert torch.stack([*counts], 1)[..., c].tolist() == expected


@given(maps(*range(8), 255), maps(*range(8), 255))
def test_multilabel_counts_are_binary_counts_of_each_bit(predicted, truth):
    counts = overlap.multilabel_counts(predicted, truth, 8)
    for c in range(8):
        expected = naive((predicted >> c & 1).bool(), (truth >> c & 1).bool())
        assert torch.stack([*counts], 1)[..., c].tolist() == expected


@given(maps(*range(CLASSES)), maps(*range(CLASSES), 255))
def test_dataset_iou_is_that_of_mmsegmentation(predicted, truth):
    ours = overlap.dataset_iou(overlap.multiclass_counts(predicted, truth, CLASSES))
    results = [
        IoUMetric.intersect_and_union(p, t, CLASSES, 255)
        for p, t in zip(predicted, truth, strict=True)
    ]
    intersection, union, _, label = (sum(areas) for areas in zip(*results, strict=True))
    expected = (intersection / union).double().masked_fill(label == 0, torch.nan)
    torch.testing.assert_close(ours, expected, equal_nan=True, atol=1e-6, rtol=0)


@given(maps(*range(CLASSES)), maps(*range(CLASSES)))
def test_everything_is_a_fraction_and_perfect_is_one(predicted, truth):
    for given_, perfect in ((predicted, False), (truth, True)):
        counts = overlap.multiclass_counts(given_, truth, CLASSES)
        for values in (
            overlap.iou(counts),
            overlap.dice(counts),
            overlap.image_miou(counts),
            overlap.pixel_accuracy(counts),
        ):
            assert ((values >= 0) & (values <= 1)).all()
        if perfect:
            assert (overlap.pixel_accuracy(counts) == 1).all()
            torch.testing.assert_close(
                overlap.image_miou(counts), torch.ones(3).double(), atol=1e-6, rtol=0
            )


@given(maps(*range(CLASSES)), maps(*range(CLASSES), 255))
def test_certain_probabilities_count_as_labels_do(predicted, truth):
    hard = overlap.multiclass_counts(predicted, truth, CLASSES)
    certain = torch.nn.functional.one_hot(predicted.long(), CLASSES).permute(0, 3, 1, 2).float()
    for soft, expected in zip(overlap.soft_counts(certain, truth), hard, strict=True):
        torch.testing.assert_close(soft, expected)


def test_what_is_absent_scores_0_in_iou_and_1_in_dice():
    counts = overlap.multilabel_counts(
        torch.tensor([[[0b01]]]).byte(), torch.tensor([[[0b01]]]).byte(), 2
    )
    assert overlap.iou(counts)[0].tolist() == pytest.approx([1, 0], abs=1e-6)
    assert overlap.dice(counts)[0].tolist() == [1, 1]


def test_image_miou_averages_the_classes_of_the_truth_only():
    truth = torch.tensor([[[0, 0, 1, 1]]]).byte()
    predicted = torch.tensor([[[0, 0, 1, 2]]]).byte()
    counts = overlap.multiclass_counts(predicted, truth, 3)
    assert overlap.image_miou(counts).item() == pytest.approx((1 + 1 / 2) / 2, abs=1e-6)


def test_an_image_that_is_ignored_entirely_scores_0():
    truth = torch.full((1, 2, 2), 255).byte()
    counts = overlap.multiclass_counts(torch.zeros_like(truth), truth, 2)
    assert overlap.image_miou(counts).item() == overlap.pixel_accuracy(counts).item() == 0


@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [(0, 3, "a true label is 3"), (7, 0, "a predicted label is 7")],
)
def test_labels_out_of_range_are_refused(predicted, truth, message):
    with pytest.raises(ImBenchError, match=message):
        overlap.multiclass_counts(
            torch.tensor([[[predicted]]]).byte(), torch.tensor([[[truth]]]).byte(), 3
        )
