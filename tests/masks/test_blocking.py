from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from im_bench.masks import block_input, block_output

from .strategies import bytes_of

inconsistent = nps.arrays(bool, (2, 4, 3)).map(torch.from_numpy)


@given(bytes_of((2, 3, 4, 3), 255), inconsistent, st.sampled_from([0, 127]))
def test_input_is_blanked_there_and_only_there(images, where, fill):
    blocked = block_input(images, where, fill)
    for b, y, x in np.ndindex(2, 4, 3):
        expected = [fill] * 3 if where[b, y, x] else images[b, :, y, x].tolist()
        assert blocked[b, :, y, x].tolist() == expected
    assert torch.equal(block_input(blocked, where, fill), blocked)


@given(bytes_of((2, 4, 3), 5), inconsistent, st.sampled_from([0, 255]))
def test_output_is_replaced_there_and_only_there(labels, where, value):
    blocked = block_output(labels, where, value)
    assert (blocked[where] == value).all()
    assert torch.equal(blocked[~where], labels[~where])
    assert torch.equal(block_output(blocked, where, value), blocked)


@given(bytes_of((2, 3, 4, 3), 255))
def test_arguments_stay_as_they_were(images):
    before = images.clone()
    block_input(images, torch.ones(2, 4, 3, dtype=torch.bool))
    assert torch.equal(images, before)


def test_normalised_images_keep_their_type():
    images = torch.randn(1, 3, 2, 2, dtype=torch.float16)
    blocked = block_input(images, torch.tensor([[[True, False], [False, False]]]))
    assert blocked.dtype == torch.float16
    assert not blocked[0, :, 0, 0].any()
