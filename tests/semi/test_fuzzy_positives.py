from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from im_bench.semi.fuzzy_positives import (
    adaptive_loss,
    consistency_loss,
    cross_loss,
    fuzzy_positives,
    fuzzy_weight,
    multi_positive_loss,
)

LOGITS = hnp.arrays(np.float32, (1, 6, 2, 3), elements=st.floats(-9, 9, width=32))
WEIGHTINGS = ["none", "linear", "convex", "concave"]


def pixel(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers).view(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("probabilities", "number"),
    [
        ((0.95, 0.03, 0.01, 0.01), 1),
        ((0.60, 0.31, 0.05, 0.04), 1),  # two reach the threshold, so that one is positive
        ((0.50, 0.30, 0.15, 0.05), 2),
        ((0.40, 0.30, 0.18, 0.12), 3),
        ((0.28, 0.25, 0.24, 0.23), 3),  # never more than asked for
    ],
)
def test_positives_and_the_next_class_reach_the_threshold(probabilities, number):
    found = fuzzy_positives(pixel(*probabilities), 0.9, 3)
    assert found.number.item() == number
    assert found.positive.flatten().tolist() == [i < number for i in range(4)]
    assert found.runner_up.item() == pytest.approx(probabilities[number])
    assert found.mean.item() == pytest.approx(sum(probabilities[: number + 1]) / (number + 1))


@given(LOGITS, st.floats(0.1, 1), st.integers(1, 9))
def test_positives_are_the_most_probable_classes(logits, threshold, most):
    probabilities = torch.from_numpy(logits).softmax(1)
    found = fuzzy_positives(probabilities, threshold, most)
    assert (found.positive.sum(1) == found.number).all()
    assert found.number.max() <= min(most, 5)
    least = probabilities.masked_fill(~found.positive, 1).amin(1)
    assert (least >= probabilities.masked_fill(found.positive, 0).amax(1)).all()


@given(LOGITS, LOGITS)
def test_loss_sums_over_all_pairs(student, teacher):
    logits = torch.from_numpy(student)
    positives = fuzzy_positives(torch.from_numpy(teacher).softmax(1))
    differences = (logits.double().unsqueeze(1) - logits.double().unsqueeze(2)).exp()
    pairs = positives.positive.unsqueeze(2) & ~positives.positive.unsqueeze(1)
    expected = (differences * pairs).sum((1, 2)).log1p()
    torch.testing.assert_close(multi_positive_loss(logits, positives), expected.float())


@given(LOGITS)
def test_loss_with_one_positive_is_the_cross_entropy(logits):
    logits = torch.from_numpy(logits)
    target = logits.argmin(1)
    positives = fuzzy_positives(F.one_hot(target, 6).movedim(-1, 1).float())
    expected = F.cross_entropy(logits, target, reduction="none")
    torch.testing.assert_close(multi_positive_loss(logits, positives), expected)


def test_of_two_classes_one_is_positive():
    positives = fuzzy_positives(pixel(0.45, 0.55), 0.9, 3)
    assert positives.positive.flatten().tolist() == [False, True]
    loss = multi_positive_loss(pixel(2.0, 0.5), positives)
    assert loss.item() == pytest.approx(math.log1p(math.exp(1.5)))


@given(LOGITS, st.sampled_from(WEIGHTINGS), st.sampled_from([1.0, 4.0]))
def test_weight_is_a_share(logits, weighting, bend):
    positives = fuzzy_positives(torch.from_numpy(logits).softmax(1))
    weight = fuzzy_weight(positives, weighting, bend)
    assert ((weight >= 0) & (weight <= 1)).all()


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weight_grows_with_the_gap(weighting):
    clear, unclear = (
        fuzzy_weight(fuzzy_positives(pixel(*p)), weighting).item()
        for p in ((0.9, 0.05, 0.03, 0.02), (0.4, 0.3, 0.2, 0.1))
    )
    assert clear > unclear or weighting == "none"


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_cross_loss_has_the_value_of_plain_pseudo_supervision():
    students = draw(2, 2, 5, 4, 4).requires_grad_()
    teachers = draw(2, 2, 5, 4, 4, seed=1).softmax(2)
    made = cross_loss(students.unbind(), teachers.unbind())
    plain = sum(
        F.cross_entropy(student, teacher.argmax(1))
        for student, teacher in zip(students, teachers, strict=True)
    )
    torch.testing.assert_close(made.loss, plain)
    (own,) = torch.autograd.grad(made.loss, students)
    (other,) = torch.autograd.grad(plain, students)
    assert not torch.allclose(own, other)


def test_pixels_that_are_not_kept_teach_nothing_but_count():
    students = draw(2, 2, 5, 4, 4).requires_grad_()
    teachers = draw(2, 2, 5, 4, 4, seed=1).softmax(2)
    kept = torch.zeros(2, 4, 4, dtype=torch.bool)
    kept[:, :2] = True
    made = cross_loss(students.unbind(), teachers.unbind(), kept)
    alone = cross_loss(students[..., :2, :].unbind(), teachers[..., :2, :].unbind())
    torch.testing.assert_close(made.loss, alone.loss / 2)
    (gradient,) = torch.autograd.grad(made.loss, students)
    assert not gradient[..., 2:, :].any()
    assert gradient[..., :2, :].any()


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_nothing_kept_and_undecided_teachers_are_finite(weighting):
    students = draw(2, 1, 5, 2, 2).requires_grad_()
    undecided = torch.full((2, 1, 5, 2, 2), 0.2)
    for kept in (None, torch.zeros(1, 2, 2, dtype=torch.bool)):
        made = cross_loss(students.unbind(), undecided.unbind(), kept, weighting=weighting)
        (gradient,) = torch.autograd.grad(made.loss, students)
        assert made.loss.isfinite()
        assert gradient.isfinite().all()
    assert made.loss == 0


def test_sampling_leaves_out_well_learnt_classes():
    student = torch.zeros(1, 3, 1, 2)
    student[0, 0, 0, 0] = student[0, 1, 0, 1] = 5  # class 0, then class 1
    student.requires_grad_()
    made = consistency_loss(
        student,
        draw(1, 3, 1, 2),
        class_confidence=torch.tensor([1.0, 0.2, 0.5]),
        draws=torch.full((3, 1, 2), 0.5),
    )
    (gradient,) = torch.autograd.grad(made.loss, student)
    assert not gradient[..., 0].any()
    assert gradient[..., 1].any()


def test_adaptive_loss_follows_the_positives_around():
    """Where all neighbours have one positive, the threshold that gives one is chosen."""
    teacher = torch.full((1, 4, 5, 5), -20.0)
    teacher[:, 0] = 20
    teacher[0, :, 2, 2] = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    uncertain = torch.zeros(1, 5, 5, dtype=torch.bool)
    uncertain[0, 2, 2] = True
    student = draw(1, 4, 5, 5)
    found = adaptive_loss(student, teacher, uncertain, (0.99, 0.7), weighting="none")
    alone = adaptive_loss(student, teacher, uncertain, (0.7,), weighting="none")
    assert found[0, 2, 2] == alone[0, 2, 2]
    assert found.count_nonzero() == 1
    target = torch.zeros(1, 5, 5, dtype=torch.int64)
    expected = F.cross_entropy(student, target, reduction="none")[0, 2, 2]
    torch.testing.assert_close(found[0, 2, 2], expected)


def test_losses_read_no_number_from_the_device():
    logits = torch.empty(2, 5, 4, 4, device="meta")  # has no numbers to read
    kept = torch.empty(2, 4, 4, dtype=torch.bool, device="meta")
    assert cross_loss((logits, logits), (logits, logits), kept).loss.shape == ()
    draws, confidence = logits[0], logits[0, :, 0, 0]
    assert consistency_loss(logits, logits, confidence, draws).loss.shape == ()
    assert adaptive_loss(logits, logits, kept, (0.5, 0.9)).shape == kept.shape
