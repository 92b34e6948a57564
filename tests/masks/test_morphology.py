from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from im_bench.errors import ImBenchError
from im_bench.masks import dilate, dilate_bits, dilate_classes, erode

from .strategies import bytes_of, masks

kernels = st.integers(1, 7)
maps = st.tuples(st.integers(1, 9), st.integers(1, 9))


def opencv(operation, mask, k, iterations=1):
    kernel = np.ones((k, k), np.uint8)
    return torch.from_numpy(operation(mask.byte().numpy(), kernel, iterations=iterations))


@pytest.mark.parametrize(("ours", "theirs"), [(erode, cv2.erode), (dilate, cv2.dilate)])
@given(masks, kernels)
def test_equals_opencv(ours, theirs, mask, k):
    batch = ours(mask, k)
    assert batch.dtype == torch.bool
    for image, expected in zip(batch, mask, strict=True):
        assert torch.equal(image.byte(), opencv(theirs, expected, k))


@given(masks, kernels)
def test_erosion_shrinks_and_dilation_grows(mask, k):
    assert not (erode(mask, k) & ~mask).any()
    assert not (mask & ~dilate(mask, k)).any()


@given(masks, st.sampled_from([0, 1]))
def test_kernels_of_0_and_1_change_nothing(mask, k):
    assert torch.equal(erode(mask, k), mask)
    assert torch.equal(dilate(mask, k), mask)


@given(maps.flatmap(lambda shape: bytes_of(shape, 4)), kernels, st.integers(1, 3))
def test_higher_classes_paint_over_lower_ones(labels, k, iterations):
    expected = torch.zeros_like(labels)
    for c in range(1, 5):
        expected[opencv(cv2.dilate, labels == c, k, iterations) > 0] = c
    assert torch.equal(dilate_classes(labels, k, iterations), expected)


@given(maps.flatmap(lambda shape: bytes_of(shape, 7)), kernels, st.integers(0, 7))
def test_bits_grow_by_themselves_or_not_at_all(labels, k, bits):
    grown = dilate_bits(labels, k, bits)
    for bit in (1, 2, 4):
        before, after = (labels & bit) != 0, (grown & bit) != 0
        expected = opencv(cv2.dilate, before, k) > 0 if bits & bit else before
        assert torch.equal(after, expected)


def test_a_negative_kernel_is_refused():
    with pytest.raises(ImBenchError, match="-3"):
        dilate(torch.zeros(1, 4, 4, dtype=torch.bool), -3)
