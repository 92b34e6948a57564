from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from im_bench.errors import ImBenchError
from im_bench.masks import MaskOptions, consensus, inconsistency_masked, same_classes

from .strategies import predictions, spaces

some = spaces.flatmap(lambda space: st.tuples(st.just(space), predictions(space)))
options = st.builds(
    MaskOptions,
    erode=st.integers(0, 3),
    dilate=st.integers(0, 3),
    block_input=st.booleans(),
    block_output=st.booleans(),
    image_filter=st.sampled_from(["none", "foreground", "classes"]),
)


def images_for(teachers):
    return torch.full((teachers.shape[1], 3, *teachers.shape[2:]), 9, dtype=torch.uint8)


@given(some, options)
def test_blanked_is_what_the_mask_says_and_nothing_else(case, chosen):
    space, teachers = case
    images = images_for(teachers)
    made = inconsistency_masked(images, teachers, space, chosen)
    blanked = (made.images == 0).all(1)
    assert torch.equal(blanked, made.inconsistent & chosen.block_input)
    if chosen.block_output:
        assert not made.labels[made.inconsistent].any()
    assert made.labels.dtype == torch.uint8
    assert made.keep.dtype == torch.bool
    assert ((made.foreground_sizes >= 0) & (made.foreground_sizes <= images[0, 0].numel())).all()


@given(some)
def test_without_morphology_it_is_the_consensus(case):
    space, teachers = case
    made = inconsistency_masked(
        images_for(teachers), teachers, space, MaskOptions(block_output=False)
    )
    labels, inconsistent = consensus(teachers, space)
    assert torch.equal(made.labels, labels)
    assert torch.equal(made.inconsistent, inconsistent)
    assert made.keep.all()


@given(some, options)
def test_images_do_not_see_each_other(case, chosen):
    space, teachers = case
    whole = inconsistency_masked(images_for(teachers), teachers, space, chosen)
    first = inconsistency_masked(images_for(teachers)[:1], teachers[:, :1], space, chosen)
    for both, alone in zip(whole, first, strict=True):
        assert torch.equal(both[:1], alone)


@given(some, st.integers(1, 4))
def test_filter_and_sizes_precede_morphology(case, k):
    space, teachers = case
    plain, eroded = (
        inconsistency_masked(
            images_for(teachers), teachers, space, MaskOptions(erode=e, image_filter="foreground")
        )
        for e in (0, k)
    )
    assert torch.equal(plain.keep, eroded.keep)
    assert torch.equal(plain.inconsistent_sizes, eroded.inconsistent_sizes)
    assert torch.equal(plain.foreground_sizes, eroded.foreground_sizes)


def test_eroding_grows_classes_into_what_it_frees_but_not_binary_labels():
    teachers = torch.zeros(2, 1, 5, 5).byte()
    teachers[:, :, :, :2] = 1
    teachers[0, :, 2, 2] = 1  # one disputed pixel, which erosion frees
    for space, freed in (("multiclass", 1), ("multilabel", 1), ("binary", 0)):
        made = inconsistency_masked(images_for(teachers), teachers, space, MaskOptions(erode=3))
        assert not made.inconsistent.any()
        assert made.labels[0, 2, 2] == freed


def test_the_mask_is_eroded_before_it_is_dilated():
    teachers = torch.zeros(2, 1, 9, 9).byte()
    teachers[0, :, 1, 1] = 1  # a speck
    teachers[0, :, 4:8, 4:8] = 1  # and a region
    made = inconsistency_masked(
        images_for(teachers), teachers, "binary", MaskOptions(erode=3, dilate=3)
    )
    assert torch.equal(made.inconsistent[0, 3:, 3:], teachers[0, 0, 3:, 3:] == 1)
    assert made.inconsistent.sum() == 16


def test_only_the_growing_bits_grow():
    teachers = torch.zeros(2, 1, 5, 5).byte()
    teachers[:, :, 2, 2] = 0b111
    made = inconsistency_masked(
        images_for(teachers), teachers, "multilabel", MaskOptions(erode=1, growing_bits=0b011)
    )
    assert made.labels[0, 1, 1] == 0b011
    assert made.labels[0, 2, 2] == 0b111


def test_relabelling_acts_on_the_consensus_and_is_blocked_too():
    teachers = torch.zeros(2, 1, 2, 2).byte()
    teachers[0, 0, 0, 0] = 1
    made = inconsistency_masked(
        images_for(teachers), teachers, "multilabel", relabel=lambda labels: labels | 4
    )
    assert made.labels.tolist() == [[[0, 4], [4, 4]]]


def test_inconsistent_labels_can_be_ignored():
    teachers = torch.tensor([[[[1, 2]]], [[[1, 3]]]]).byte()
    made = inconsistency_masked(
        images_for(teachers), teachers, "multiclass", MaskOptions(blocked_label=255)
    )
    assert made.labels.tolist() == [[[1, 255]]]


def test_class_filter_is_same_classes():
    teachers = torch.tensor([[[[1, 2]], [[1, 2]]], [[[2, 1]], [[1, 1]]]]).byte()
    made = inconsistency_masked(
        images_for(teachers), teachers, "multiclass", MaskOptions(image_filter="classes")
    )
    assert made.keep.tolist() == same_classes(teachers, "multiclass").tolist() == [True, False]


@pytest.mark.parametrize("space", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("image_filter", ["none", "foreground", "classes"])
def test_never_waits_for_the_device(space, image_filter):
    # Tensors of the meta device have no values: whatever needs one on the host, or a shape that
    # depends on one, fails.
    teachers = torch.zeros(3, 2, 8, 8, dtype=torch.uint8, device="meta")
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8, device="meta")
    chosen = MaskOptions(erode=3, dilate=2, image_filter=image_filter)
    made = inconsistency_masked(images, teachers, space, chosen)
    assert {each.device.type for each in made} == {"meta"}
    assert made.images.shape == images.shape


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"erode": -1}, "'erode' must lie within 0 and 255 but is -1"),
        ({"blocked_label": 256}, "blocked_label"),
        ({"image_filter": "class"}, "did you mean 'classes'"),
    ],
)
def test_options_out_of_range_are_refused(fields, message):
    with pytest.raises(ImBenchError, match=message):
        MaskOptions(**fields)
