from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from im_bench.errors import ImBenchError
from im_bench.masks import consensus, deviating, foreground_sizes, inconsistent_sizes

from .strategies import predictions, spaces

some = spaces.flatmap(lambda space: st.tuples(st.just(space), predictions(space)))


@given(some)
def test_says_pixel_by_pixel_what_all_teachers_say(case):
    space, teachers = case
    labels, inconsistent = consensus(teachers, space)
    assert labels.dtype == torch.uint8
    for place in np.ndindex(*labels.shape):
        said = [int(teacher[place]) for teacher in teachers]
        assert bool(inconsistent[place]) == (len(set(said)) > 1)
        if space == "multilabel":
            expected = int(np.bitwise_and.reduce(said))
        else:
            expected = said[0] if len(set(said)) == 1 else 0
        assert int(labels[place]) == expected


@given(spaces.flatmap(lambda s: st.tuples(st.just(s), predictions(s, 1))), st.integers(2, 4))
def test_identical_teachers_leave_nothing_inconsistent(case, copies):
    space, teacher = case
    teachers = teacher.expand(copies, -1, -1, -1)
    labels, inconsistent = consensus(teachers, space)
    assert torch.equal(labels, teacher[0])
    assert not inconsistent.any()
    assert not inconsistent_sizes(teachers, space).any()


@given(some, st.randoms(use_true_random=False))
def test_order_of_teachers_does_not_matter(case, random):
    space, teachers = case
    order = list(range(len(teachers)))
    random.shuffle(order)
    for mine, shuffled in zip(
        consensus(teachers, space), consensus(teachers[order], space), strict=True
    ):
        assert torch.equal(mine, shuffled)


@given(some)
def test_another_teacher_never_shrinks_the_mask_or_grows_the_foreground(case):
    space, teachers = case
    found = [consensus(teachers[: k + 1], space) for k in range(len(teachers))]
    for few, many in pairwise(found):
        assert not (few.inconsistent & ~many.inconsistent).any()
        assert (foreground_sizes(many.labels) <= foreground_sizes(few.labels)).all()


@given(some)
def test_agreement_and_inconsistency_share_no_pixel_unless_a_pixel_has_many_labels(case):
    space, teachers = case
    labels, inconsistent = consensus(teachers, space)
    if space != "multilabel":
        assert not labels[inconsistent].any()
    bits = 8 if space == "multilabel" else 1
    sizes = inconsistent_sizes(teachers, space)
    pixels = inconsistent.sum((1, 2))
    assert ((pixels <= sizes) & (sizes <= bits * pixels)).all()


def test_multilabel_size_counts_a_pixel_once_per_disputed_class():
    teachers = torch.tensor([[[[0b011, 0b100, 0b111]]], [[[0b000, 0b100, 0b011]]]]).byte()
    labels, inconsistent = consensus(teachers, "multilabel")
    assert labels.tolist() == [[[0b000, 0b100, 0b011]]]
    assert inconsistent.tolist() == [[[True, False, True]]]
    assert inconsistent_sizes(teachers, "multilabel").tolist() == [3]


def test_classes_that_share_bits_do_not_leave_a_class_behind():
    teachers = torch.tensor([[[[3]]], [[[1]]]]).byte()
    assert consensus(teachers, "multiclass").labels.item() == 0


def test_deviating_pixels_of_one_image_do_not_depend_on_the_others():
    generator = torch.Generator().manual_seed(0)
    depths = torch.rand(3, 2, 8, 8, generator=generator)
    depths[0, 0, 2, 2] = 100
    both = deviating(depths)
    assert torch.equal(both[1], deviating(depths[:, 1:])[0])
    assert both[0].nonzero().tolist() == [[2, 2]]


@pytest.mark.parametrize(
    ("teachers", "space", "message"),
    [
        (torch.zeros(2, 1, 4, 4).byte(), "multi-class", "did you mean 'multiclass'"),
        (torch.zeros(2, 1, 4, 4), "binary", "torch.float32"),
        (torch.zeros(1, 4, 4).byte(), "binary", r"\(1, 4, 4\)"),
        (torch.zeros(0, 1, 4, 4).byte(), "binary", r"\(0, 1, 4, 4\)"),
    ],
)
def test_unfit_predictions_are_refused(teachers, space, message):
    with pytest.raises(ImBenchError, match=message):
        consensus(teachers, space)
