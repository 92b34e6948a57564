from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from im_bench.errors import ImBenchError
from im_bench.models.deeplabv3plus import DeepLabV3PlusHead
from im_bench.semi.network import Network
from im_bench.semi.representation import (
    RepresentationHead,
    joined_channels,
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


def test_of_a_unet_the_head_reads_what_the_classifier_reads(build):
    segmentor = build(method="supervised").student
    head = RepresentationHead(joined_channels(segmentor), features=6)
    assert joined_channels(segmentor) == segmentor.decode_head.conv_seg.in_channels
    reading = read(Network(segmentor), head, torch.rand(2, 3, 32, 32))
    assert reading.logits.shape == (2, 4, 32, 32)
    assert reading.representation.shape == (2, 6, 8, 8)
    reading.representation.sum().backward()
    gradients = [each.grad for each in segmentor.backbone.parameters()]
    assert any(each is not None and each.any() for each in gradients)


def test_of_deeplab_the_head_reads_the_joined_maps_as_u2pl_does():
    """One forward on given features, against the original's order written out."""
    torch.manual_seed(0)
    decoder = DeepLabV3PlusHead(
        in_channels=12,
        channels=16,
        dilations=(12, 24, 36),
        c1_in_channels=6,
        c1_channels=16,
        projection_kernel=3,
        dropout_ratio=0.1,
        num_classes=5,
        norm_cfg={"type": "BN"},
    ).eval()
    decoder.init_weights()
    segmentor = nn.Module()
    segmentor.backbone, segmentor.decode_head = nn.Identity(), decoder
    segmentor.extract_feat = lambda images: features
    features = (torch.randn(2, 6, 20, 28), torch.randn(2, 12, 5, 7))
    assert joined_channels(segmentor) == 2 * 16
    head = RepresentationHead(joined_channels(segmentor), features=8).eval()
    reading = read(Network(segmentor), head, torch.rand(2, 3, 80, 112))

    def normalised(layer, maps, activation=F.relu):
        return activation(layer.bn(layer.conv(maps)))

    fine, coarse = features
    pyramid = [normalised(branch, coarse) for branch in decoder.branches]
    mean = normalised(decoder.image_pool[1], coarse.mean((2, 3), keepdim=True))
    pyramid.append(mean.expand_as(pyramid[0]))
    projected = normalised(decoder.projection[0], torch.cat(pyramid, 1))
    enlarged = F.interpolate(projected, (20, 28), mode="bilinear", align_corners=True)
    joined = torch.cat([enlarged, normalised(decoder.c1_reduction, fine)], 1)
    torch.testing.assert_close(reading.representation, head.layers(joined))
    fused = normalised(decoder.fusion[2], normalised(decoder.fusion[0], joined))
    torch.testing.assert_close(reading.logits, decoder.conv_seg(fused))


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
    logits, _ = network.decode_with_joined(features)
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
        joined_channels(Other())


class Other(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.decode_head = nn.Identity()
