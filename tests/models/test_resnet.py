from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict
from mmseg.models.backbones import ResNetV1c
from mmseg.registry import MODELS
from torch import Tensor, nn

from im_bench.errors import ImBenchError
from im_bench.models.resnet import DilatedResNet

State = dict[str, Tensor]


def tiny(**options: Any) -> DilatedResNet:
    backbone = DilatedResNet(**{"base_channels": 4, "stem_channels": 8, **options})
    backbone.eval()  # which returns None in MMSegmentation
    return backbone


def dilations(backbone: DilatedResNet, stage: int) -> list[int]:
    return [block.conv2.dilation[0] for block in getattr(backbone, f"layer{stage}")]


@pytest.mark.parametrize(
    ("output_stride", "multi_grid", "third", "fourth"),
    [
        (32, None, [1] * 6, [1, 1, 1]),
        (16, None, [1] * 6, [1, 2, 2]),  # UniMatch
        (8, None, [1, 2, 2, 2, 2, 2], [2, 4, 4]),
        (16, (2, 2, 4), [1] * 6, [2, 4, 8]),  # iMAS, CPS
        (8, (2, 2, 4), [1, 2, 2, 2, 2, 2], [4, 8, 16]),  # U2PL
    ],
)
def test_dilations_and_strides_are_the_originals(output_stride, multi_grid, third, fourth):
    backbone = tiny(output_stride=output_stride, multi_grid=multi_grid)
    assert dilations(backbone, 3) == third
    assert dilations(backbone, 4) == fourth
    with torch.inference_mode():
        maps = backbone(torch.rand(1, 3, 64, 96))
    assert maps[0].shape[-2:] == (16, 24)
    assert maps[-1].shape[-2:] == (64 // output_stride, 96 // output_stride)


@pytest.mark.parametrize(("ceil_mode", "side"), [(False, 200), (True, 201)])
def test_pooling_may_round_up(ceil_mode, side):
    with torch.inference_mode():
        assert tiny(ceil_mode=ceil_mode)(torch.rand(1, 3, 800, 32))[0].shape[-2] == side


def nested(name: str) -> str:
    if name.startswith("stem.7."):
        return name.replace("stem.7", "bn1")
    return name.replace("stem.", "conv1.")


def numbered(name: str) -> str:
    for index, layer in ((0, "conv1"), (1, "bn1"), (3, "conv2"), (4, "bn2")):
        name = name.replace(f"stem.{index}.", f"{layer}.")
    return name.replace("stem.6.", "conv3.").replace("stem.7.", "bn3.")


@pytest.mark.parametrize("rename", [str, nested, numbered])
def test_imagenet_weights_are_read_whatever_their_names(
    rename: Callable[[str], str], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    source = tiny().state_dict()
    file = tmp_path / "imagenet.pth"
    torch.save({rename(name): value for name, value in source.items()}, file)
    torch.manual_seed(2)
    backbone = tiny(init_cfg={"type": "Pretrained", "checkpoint": str(file)})
    backbone.init_weights()
    loaded = backbone.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in source.items())


@pytest.mark.parametrize("load", [nn.Module.load_state_dict, load_state_dict])
def test_a_checkpoint_of_a_segmentor_is_read_strictly(load: Callable[..., Any]) -> None:
    source, target = (nn.ModuleDict({"backbone": tiny()}) for _ in range(2))
    load(copy.deepcopy(target), source.state_dict(), strict=True)
    load(target, source.state_dict(), strict=True)
    for name, value in target.state_dict().items():
        assert torch.equal(value, source.state_dict()[name])


@pytest.mark.parametrize("v1c", [True, False])
def test_weights_for_another_stem_are_refused(v1c: bool) -> None:
    other = ResNetV1c(depth=50, base_channels=4, stem_channels=4).state_dict()
    if not v1c:  # as torchvision has it
        other = {name: value for name, value in other.items() if not name.startswith("stem.")}
        other["conv1.weight"] = torch.zeros(8, 3, 7, 7)
    with pytest.raises(ImBenchError, match=r"stem of (4|no such) channels, not 8: set backbone"):
        load_state_dict(tiny(), other)


def test_unknown_output_stride_is_refused() -> None:
    with pytest.raises(ImBenchError, match="unknown output stride '4'"):
        tiny(output_stride=4)


def test_is_registered() -> None:
    assert MODELS.get("DilatedResNet") is DilatedResNet
