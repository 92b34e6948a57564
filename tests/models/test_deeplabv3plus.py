from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from im_bench.models.deeplabv3plus import DeepLabV3PlusHead

BACKBONE = (6, 8, 10, 12)


def head(**options: Any) -> DeepLabV3PlusHead:
    torch.manual_seed(0)
    defaults = {
        "in_channels": BACKBONE[-1],
        "channels": 16,
        "c1_in_channels": BACKBONE[0],
        "c1_channels": 5,
        "num_classes": 7,
        "norm_cfg": {"type": "BN"},
        "loss_decode": {"type": "CrossEntropyLoss", "avg_non_ignore": True},
    }
    return DeepLabV3PlusHead(**{**defaults, **options})


def maps(batch: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    sides = ((20, 28), (10, 14), (5, 7), (5, 7))
    return [
        torch.randn(batch, channels, *side, generator=generator)
        for channels, side in zip(BACKBONE, sides, strict=True)
    ]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dilations": (12, 24, 36), "projection_kernel": 3, "dropout_ratio": 0.1},
        {"aspp_act_cfg": {"type": "LeakyReLU"}},
    ],
)
def test_logits_have_the_fine_maps_size_and_every_weight_learns(options: dict[str, Any]) -> None:
    network = head(**options)
    logits = network(maps())
    assert logits.shape == (2, 7, 20, 28)
    logits.square().sum().backward()
    assert all(each.grad is not None for each in network.parameters())


def test_the_classifier_is_last_and_reads_all_channels() -> None:
    network, seen = head().eval(), []
    network.conv_seg.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    logits = network(maps())
    assert seen[0].shape == (2, 16, 20, 28)
    assert torch.equal(logits, network.conv_seg(seen[0]))


def test_only_the_first_and_last_map_are_read() -> None:
    network = head().eval()
    changed = [each if index in (0, 3) else each + 1 for index, each in enumerate(maps())]
    assert torch.equal(network(maps()), network(changed))


def test_dropout_comes_after_projection_and_both_convolutions() -> None:
    shares = [
        each.p for each in head(dropout_ratio=0.1).modules() if isinstance(each, nn.Dropout2d)
    ]
    assert shares == [0.1] * 3
    plain = head().train()
    assert torch.equal(plain(maps()), plain(maps()))


def test_leaky_activation_is_the_pyramids_only() -> None:
    network = head(aspp_act_cfg={"type": "LeakyReLU"})
    leaky = {
        name.split(".")[0]
        for name, each in network.named_modules()
        if isinstance(each, nn.LeakyReLU)
    }
    assert leaky == {"branches", "image_pool", "projection"}
    assert isinstance(network.fusion[0].activate, nn.ReLU)
    assert isinstance(network.c1_reduction.activate, nn.ReLU)


def test_normalising_the_branches_together_is_the_same() -> None:
    """CPS normalises the concatenated branches, and projects the image's mean by itself."""
    network, inputs = head(aspp_act_cfg={"type": "LeakyReLU"}).train(), maps(batch=4)
    coarse = inputs[-1]

    def normalised(x: Tensor) -> Tensor:
        return F.leaky_relu(F.batch_norm(x, None, None, training=True))

    joined = normalised(torch.cat([branch.conv(coarse) for branch in network.branches], 1))
    pooled = normalised(network.image_pool[1].conv(coarse.mean((2, 3), keepdim=True)))
    weight = network.projection[0].conv.weight
    own, pool = weight.split([joined.shape[1], pooled.shape[1]], dim=1)
    expected = normalised(F.conv2d(joined, own) + F.conv2d(pooled, pool))
    expected = F.interpolate(expected, (20, 28), mode="bilinear", align_corners=True)
    torch.testing.assert_close(network.joined(inputs)[:, :16], expected, rtol=1e-4, atol=1e-5)


def test_is_registered() -> None:
    assert MODELS.get("DeepLabV3PlusHead") is DeepLabV3PlusHead
