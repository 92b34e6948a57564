from __future__ import annotations

import pytest
import torch
from torch import nn

from im_bench.errors import ImBenchError
from im_bench.semi.network import Network
from im_bench.semi.representation import (
    RepresentationHead,
    classifier_channels,
    pooled,
    read,
    training_mode,
)


@pytest.mark.parametrize(
    ("size", "given", "expected"),
    [
        (64, 64, 16),  # the 1x1 U-Net
        (64, 32, 16),
        (64, 16, 16),
        (769, 193, 193),
        (769, 769, 193),
        (64, 8, 8),  # coarser than stride 4
    ],
)
def test_features_are_of_stride_4_or_coarser(size, given, expected):
    assert pooled(torch.rand(1, 2, given, given), (size, size)).shape[-2:] == (expected, expected)


def test_pooled_probabilities_still_sum_to_one():
    probabilities = torch.rand(1, 5, 30, 34).softmax(1)
    torch.testing.assert_close(pooled(probabilities, (30, 34)).sum(1), torch.ones(1, 8, 9))


def test_head_reads_what_the_classifier_reads(build):
    segmentor = build(method="supervised").student
    head = RepresentationHead(classifier_channels(segmentor), features=6)
    reading = read(Network(segmentor), head, torch.rand(2, 3, 32, 32))
    assert reading.logits.shape == (2, 4, 32, 32)
    assert reading.representation.shape == (2, 6, 8, 8)
    reading.representation.sum().backward()
    gradients = [each.grad for each in segmentor.backbone.parameters()]
    assert any(each is not None and each.any() for each in gradients)


def test_head_computes_in_the_networks_precision_and_gives_float32():
    head = RepresentationHead(4, features=6)
    seen = []
    head.layers[-1].register_forward_hook(lambda _m, _i, output: seen.append(output.dtype))
    features = head(torch.rand(2, 4, 8, 8, dtype=torch.bfloat16), (32, 32))
    assert seen == [torch.bfloat16]
    assert features.dtype == torch.float32


def test_resized_logits_are_the_networks_own(build):
    network = Network(build(method="supervised").student.eval())
    features = network.encode(torch.rand(1, 3, 32, 32))
    logits, _ = network.decode_with_embedding(features)
    torch.testing.assert_close(network.resize(logits, (48, 40)), network.decode(features, (48, 40)))


def test_training_mode_ends_even_after_an_error():
    module = nn.Sequential(nn.BatchNorm2d(1), nn.Sequential(nn.Dropout(), nn.Dropout())).eval()
    module[1][0].train()

    def fail() -> None:
        with training_mode(module):
            assert all(each.training for each in module.modules())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert [each.training for each in module.modules()] == [False, False, False, True, False]


def test_a_head_without_a_classifier_is_an_error():
    with pytest.raises(ImBenchError, match="Identity has no convolution named conv_seg"):
        classifier_channels(Other())


class Other(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.decode_head = nn.Identity()
