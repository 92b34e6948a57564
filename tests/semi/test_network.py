from __future__ import annotations

import pytest
import torch
from mmseg.registry import MODELS

import im_bench.models.deeplabv3plus  # noqa: F401 - registers its head
from im_bench.errors import ImBenchError
from im_bench.semi.network import Network


@pytest.fixture
def unet(build):
    return build().student


@pytest.fixture
def with_auxiliary():
    head = {"type": "FCNHead", "channels": 8, "num_convs": 1, "num_classes": 3}
    return MODELS.build(
        {
            "type": "EncoderDecoder",
            "backbone": {"type": "ResNetV1c", "depth": 18, "base_channels": 8},
            "decode_head": {**head, "in_channels": 64, "in_index": 3, "align_corners": True},
            "auxiliary_head": {**head, "in_channels": 32, "in_index": 2},
        }
    )


def test_encode_and_decode_are_the_segmentor_itself(unet):
    images = torch.rand(2, 3, 32, 48)
    unet.eval()
    expected = unet.logits(images, (32, 48))
    assert torch.equal(Network(unet)(images), expected)


def test_widths_are_those_of_the_feature_maps(unet, with_auxiliary):
    unet.train()
    for network in map(Network, (unet, with_auxiliary)):
        before = {name: value.clone() for name, value in network.segmentor.state_dict().items()}
        features = network.encode(torch.rand(2, 3, 64, 64))
        network.segmentor.load_state_dict(before)
        assert network.widths() == [each.shape[1] for each in features]
        assert network.segmentor.training
        after = network.segmentor.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_unet_is_perturbed_between_encoder_and_decoder(unet):
    features = Network(unet).encode(torch.rand(2, 3, 32, 32))
    assert [each.shape[-1] for each in features] == [32, 16, 8, 4, 2]


def test_any_encoder_decoder_gives_logits_of_the_images_size(with_auxiliary):
    network = Network(with_auxiliary)
    images = torch.rand(2, 3, 64, 48)
    features = network.encode(images)
    assert network(images).shape == (2, 3, 64, 48)
    assert [each.shape for each in network.auxiliary(features, (64, 48))] == [(2, 3, 64, 48)]


ASPP = {"in_channels": 64, "channels": 8, "dilations": (1, 2), "num_classes": 3}
HEADS = {  # the shape of what a pixel's surroundings give, for images of 64 by 48
    "DeepLabV3PlusHead": ({"in_channels": 64, "channels": 8, "c1_in_channels": 8}, (8, 2, 2)),
    "ASPPHead": (ASPP, (8, 2, 2)),
    "DepthwiseSeparableASPPHead": ({**ASPP, "c1_in_channels": 8, "c1_channels": 4}, (8, 2, 2)),
    "FCNHead": ({"in_channels": 64, "channels": 6}, (6, 2, 2)),
    "SegformerHead": (
        {"in_channels": (8, 16, 32, 64), "in_index": (0, 1, 2, 3), "channels": 5},
        (5, 16, 12),
    ),
}


@pytest.mark.parametrize("kind", HEADS)
def test_any_head_has_contexts_one_for_each_pass(kind):
    fields, shape = HEADS[kind]
    segmentor = MODELS.build(
        {
            "type": "EncoderDecoder",
            "backbone": {"type": "ResNetV1c", "depth": 18, "base_channels": 8},
            "decode_head": {"type": kind, "in_index": 3, **fields, "num_classes": 3},
        }
    )
    network = Network(segmentor)
    images = torch.rand(2, 3, 64, 48)
    with network.contexts() as contexts:
        network.predict(images[:1])
        network(images)
    network(images)
    assert [each.shape for each in contexts] == [(1, *shape), (2, *shape)]
    assert [each.requires_grad for each in contexts] == [False, True]


@pytest.mark.parametrize(
    ("kind", "channels"),
    [("DeepLabV3PlusHead", 8 + 48), ("DepthwiseSeparableASPPHead", 8 + 4), ("ASPPHead", 8)],
)
def test_joined_maps_are_what_the_classification_begins_with(kind, channels):
    head = {"type": kind, "in_index": 3, **HEADS[kind][0], "num_classes": 3}
    backbone = {"type": "ResNetV1c", "depth": 18, "base_channels": 8}
    segmentor = MODELS.build(
        {"type": "EncoderDecoder", "backbone": backbone, "decode_head": head}
    ).eval()
    network = Network(segmentor)
    features = network.encode(torch.rand(1, 3, 64, 64))
    logits, joined = network.decode_with_joined(features)
    torch.testing.assert_close(logits, segmentor.decode_head(features))
    assert joined.shape[1] == channels
    layers = network.classifying
    behind = joined if isinstance(layers, torch.nn.Conv2d) else layers(joined)
    torch.testing.assert_close(segmentor.decode_head.cls_seg(behind), logits)


def test_predict_leaves_modes_and_statistics_as_they_were(unet):
    unet.train()
    unet.decode_head.eval()
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    logits = Network(unet).predict(torch.rand(2, 3, 32, 32))
    assert not logits.requires_grad
    assert unet.backbone.training
    assert not unet.decode_head.training
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())


def test_perturbation_drops_whole_channels_and_scales_the_others():
    torch.manual_seed(0)
    (dropped,) = Network.perturb((torch.ones(2, 64, 3, 3),), 0.5)
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}
    assert (dropped == dropped[..., :1, :1]).all()


def test_a_head_without_logits_is_named(unet):
    network = Network(unet)
    unet.decode_head.forward = lambda features: (features, features)
    with pytest.raises(ImBenchError, match="UNet1x1Head gives no logits of pixels but a tuple"):
        network(torch.rand(1, 3, 32, 32))
