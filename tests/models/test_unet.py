from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from im_bench.errors import ImBenchError
from im_bench.models.unet import UNet1x1, UNet1x1Head, he_normal


def network(width: float, channels: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        UNet1x1(in_channels=channels, width=width), UNet1x1Head(width=width, num_classes=outputs)
    )


def keras_count(model: nn.Module) -> int:
    """Parameters as Keras counts them: with the running statistics of batch normalisation."""
    statistics = (each for name, each in model.named_buffers() if "running" in name)
    return sum(each.numel() for each in (*model.parameters(), *statistics))


@pytest.mark.parametrize(
    ("width", "channels", "outputs", "count"),
    [
        (0.5, 3, 1, 171_561),
        (0.75, 3, 1, 384_301),
        (1, 3, 1, 681_681),
        (1, 1, 3, 681_683),
        (1, 3, 9, 681_817),
        (1, 3, 35, 682_259),
        (1.25, 3, 1, 1_063_701),
        (1.5, 3, 1, 1_530_361),
        (1.5, 1, 3, 1_530_363),
        (1.5, 3, 9, 1_530_561),
        (1.5, 3, 35, 1_531_211),
        (1.75, 3, 1, 2_081_661),
        (2, 1, 3, 2_717_603),
        (2, 3, 9, 2_717_865),
        (2, 3, 35, 2_718_723),
    ],
)
def test_parameters_are_as_many_as_the_originals(
    width: float, channels: int, outputs: int, count: int
) -> None:
    assert keras_count(network(width, channels, outputs)) == count


@pytest.mark.parametrize(("width", "count"), [(0.5, 170_809), (1, 680_177)])
def test_trainable_parameters_are_as_many_as_the_originals(width: float, count: int) -> None:
    assert sum(each.numel() for each in network(width, 3, 1).parameters()) == count


def test_the_output_has_the_size_of_the_input() -> None:
    assert network(0.25, 1, 3)(torch.rand(2, 1, 32, 48)).shape == (2, 3, 32, 48)


def test_normalisation_follows_the_activation_and_skips_are_added() -> None:
    backbone = UNet1x1(width=0.25)
    order = [type(layer).__name__ for layer in backbone.encoder[0]]
    assert order == ["Conv2d", "ReLU", "Conv2d", "ReLU", "BatchNorm2d"]
    # A decoder block takes as many channels as its skip has: nothing is concatenated.
    skips = [block[2].out_channels for block in backbone.encoder]
    assert [block[0].in_channels for block in backbone.decoder] == skips[::-1]
    norms = [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {(layer.momentum, layer.eps) for layer in norms} == {(0.01, 1e-3)}


@pytest.mark.parametrize(("height", "width"), [(30, 32), (32, 40)])
def test_a_size_that_does_not_fit_is_named(height: int, width: int) -> None:
    with pytest.raises(ImBenchError, match=f"multiples of 16, not {width}x{height}"):
        UNet1x1(width=0.25).encode(torch.rand(1, 3, height, width))


@pytest.mark.parametrize(("height", "width"), [(30, 32), (33, 47), (5, 1)])
def test_any_image_is_predicted_as_if_it_were_padded_with_black(height: int, width: int) -> None:
    model = network(0.25, 3, 2).eval()
    image = torch.rand(1, 3, height, width)
    black = torch.zeros(1, 3, 48, 48)
    black[..., :height, :width] = image
    black = black[..., : -(-height // 16) * 16, : -(-width // 16) * 16]
    with torch.no_grad():
        assert torch.equal(model(image), model(black)[..., :height, :width])


@pytest.mark.parametrize("width", [0, 0.03, 0.51])
def test_a_width_without_whole_channels_is_named(width: float) -> None:
    with pytest.raises(ImBenchError, match="multiple of 1/16"):
        UNet1x1(width=width)


def test_first_weights_are_keras_he_normal() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 128, 3)
    he_normal(layer)
    std = math.sqrt(2 / (64 * 9))
    assert layer.weight.std().item() == pytest.approx(std, rel=0.02)
    assert layer.weight.abs().max().item() <= 2 * std / 0.8796 + 1e-6
    assert layer.bias is not None
    assert (layer.bias == 0).all()


def test_init_weights_draws_every_convolution() -> None:
    for module in network(0.25, 3, 1):
        before = [layer.weight.clone() for layer in module.modules() if _is_conv(layer)]
        module.init_weights()
        after = [layer.weight for layer in module.modules() if _is_conv(layer)]
        assert all((a != b).all() for a, b in zip(after, before, strict=True))


def _is_conv(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d)
