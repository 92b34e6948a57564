from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.models.backbones.resnet import Bottleneck
from mmseg.registry import MODELS
from torch import Tensor, nn

import im_bench.models.resnet  # noqa: F401 - registers the backbone
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


CONFIGS = Path(__file__).parents[2] / "mm_configs/_base_/models"
# Standard deviations of first weights in the official code; 3x3 of the joined maps in UniMatch's.
OFFICIAL = {
    "branches.0.conv": 0.0128,
    "branches.1.conv": 0.0043,
    "branches.2.conv": 0.0043,
    "branches.3.conv": 0.0043,
    "image_pool.1.conv": 0.0128,
    "fusion.0.conv": 0.011,
    "conv_seg": 0.036,
}


def initialised(code_base: str) -> nn.Module:
    """Return the network of a code base as a training without weights starts it."""
    config = Config.fromfile(CONFIGS / f"deeplabv3plus_r50_{code_base}.py").model
    config.backbone.init_cfg = None
    config.pop("data_preprocessor")
    torch.manual_seed(0)
    model: nn.Module = MODELS.build(config)
    model.init_weights()
    return model


def convolutions(module: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: each for name, each in module.named_modules() if isinstance(each, nn.Conv2d)}


@pytest.mark.parametrize("code_base", ["unimatch", "u2pl", "imas"])
def test_heads_start_as_in_the_official_code(code_base: str) -> None:
    model = initialised(code_base)
    heads = convolutions(model.decode_head)
    # U2PL joins 512 channels, the others 304.
    official = {**OFFICIAL, **({"fusion.0.conv": 0.0085} if code_base == "u2pl" else {})}
    for name, deviation in official.items():
        assert heads[name].weight.std().item() == pytest.approx(deviation, rel=0.03)
    if model.with_auxiliary_head:
        auxiliary = convolutions(model.auxiliary_head)
        assert len(auxiliary) == 2
        heads |= {f"auxiliary.{name}": each for name, each in auxiliary.items()}
    for layer in heads.values():
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx((3 * fan_in) ** -0.5, rel=0.05)
        assert layer.weight.abs().max().item() < 1.0001 * fan_in**-0.5
    assert 0.015 < heads["conv_seg"].bias.std() < 0.06  # uniform in +-1/16


def test_cps_draws_from_a_normal_distribution_by_fan_in() -> None:
    for layer in convolutions(initialised("cps").decode_head).values():
        expected = (2 / layer.weight[0].numel()) ** 0.5
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.05)
        assert layer.weight.abs().max() > 2.5 * expected


@pytest.mark.parametrize(("code_base", "scale"), [("unimatch", 1.0), ("u2pl", 0.0), ("imas", 0.0)])
def test_backbones_start_as_in_the_official_code(code_base: str, scale: float) -> None:
    backbone = initialised(code_base).backbone
    for layer in convolutions(backbone).values():
        fan_out = layer.weight[:, 0].numel()
        assert layer.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.06)
    last = [each.bn3.weight for each in backbone.modules() if isinstance(each, Bottleneck)]
    assert all((weight == scale).all() for weight in last)


def test_weights_of_the_backbone_leave_the_heads_start_alone(tmp_path: Path) -> None:
    donor = initialised("unimatch").backbone
    torch.save(donor.state_dict(), tmp_path / "resnet.pth")
    config = Config.fromfile(CONFIGS / "deeplabv3plus_r50_unimatch.py").model
    config.backbone.init_cfg = {"type": "Pretrained", "checkpoint": str(tmp_path / "resnet.pth")}
    config.pop("data_preprocessor")
    model: Any = MODELS.build(config)
    model.init_weights()
    assert torch.equal(model.backbone.layer1[0].conv1.weight, donor.layer1[0].conv1.weight)
    assert model.decode_head.branches[0].conv.weight.std().item() == pytest.approx(0.0128, rel=0.03)


def test_is_registered() -> None:
    assert MODELS.get("DeepLabV3PlusHead") is DeepLabV3PlusHead
