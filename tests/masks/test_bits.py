from __future__ import annotations

import torch
from hypothesis import given

from im_bench.masks import count_bits, pack_bits, unpack_bits

from .strategies import bytes_of

EVERY_BYTE = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)


def test_every_byte_survives_unpacking_and_packing():
    assert torch.equal(pack_bits(unpack_bits(EVERY_BYTE)), EVERY_BYTE)


def test_bits_are_counted_for_every_byte():
    assert count_bits(EVERY_BYTE).flatten().tolist() == [byte.bit_count() for byte in range(256)]


@given(bytes_of((2, 3, 4), 7))
def test_bit_c_is_class_c(labels):
    channels = unpack_bits(labels, 3)
    assert channels.shape == (2, 3, 3, 4)
    for c in range(3):
        assert torch.equal(channels[:, c], (labels // 2**c) % 2 == 1)
