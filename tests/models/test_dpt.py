from __future__ import annotations

import pytest
import torch
from torch import nn

from im_bench.errors import ImBenchError
from im_bench.models.dpt import NormFreeDPTHead


def head(**fields) -> NormFreeDPTHead:
    fields = {"in_channels": 6, "channels": 4, "widths": (2, 3, 4, 5), "num_classes": 3, **fields}
    return NormFreeDPTHead(**fields)


@pytest.mark.parametrize("grid", [(4, 4), (5, 3), (1, 1)])
def test_logits_are_eight_times_finer_than_patches(grid) -> None:
    logits = head()([torch.rand(2, 6, *grid) for _ in range(4)])
    assert logits.shape == (2, 3, grid[0] * 8, grid[1] * 8)


def test_every_weight_learns_and_nothing_depends_on_the_batch() -> None:
    made = head().train()
    maps = [torch.rand(2, 6, 5, 5) for _ in range(4)]
    logits = made(maps)
    logits.square().sum().backward()
    assert all(each.grad is not None for each in made.parameters())
    assert not any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in made.modules())
    torch.testing.assert_close(logits[:1], made([each[:1] for each in maps]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("width", "channels", "widths"),
    [(384, 64, (48, 96, 192, 384)), (768, 128, (96, 192, 384, 768))],
)
def test_shapes_are_the_originals(width: int, channels: int, widths) -> None:
    made = head(in_channels=width, channels=channels, widths=widths, num_classes=19)
    shapes = {name: tuple(value.shape) for name, value in made.named_parameters()}
    for level, size in enumerate(widths):
        assert shapes[f"projections.{level}.weight"] == (size, width, 1, 1)
        assert shapes[f"reductions.{level}.weight"] == (channels, size, 3, 3)
        assert f"reductions.{level}.bias" not in shapes
        assert shapes[f"fusions.{level}.projection.weight"] == (channels, channels, 1, 1)
        for unit in ("lateral", "residual"):
            for layer in (1, 3):
                name = f"fusions.{level}.{unit}.convolutions.{layer}.weight"
                assert shapes.get(name) == (
                    None if (level, unit) == (3, "lateral") else (channels, channels, 3, 3)
                )
    assert shapes["rescalings.0.weight"] == (widths[0], widths[0], 4, 4)
    assert shapes["rescalings.1.weight"] == (widths[1], widths[1], 2, 2)
    assert shapes["rescalings.3.weight"] == (widths[3], widths[3], 3, 3)
    assert shapes["last.0.weight"] == (channels, channels, 3, 3)
    assert shapes["conv_seg.weight"] == (19, channels, 1, 1)


def test_there_are_four_widths() -> None:
    with pytest.raises(ImBenchError, match="has 4 widths, not 3"):
        head(widths=(1, 2, 3))
