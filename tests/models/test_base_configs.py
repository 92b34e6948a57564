"""The networks of Study A."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from im_bench.evaluation.windows import WindowOptions, window_spans

FOLDER = Path(__file__).parents[2] / "mm_configs" / "_base_" / "models"
NETWORKS = ["unimatch", "imas", "u2pl", "cps"]
SIDE = 65


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config_of(network: str) -> Config:
    return Config.fromfile(FOLDER / f"deeplabv3plus_r50_{network}.py")


def parameters(module: torch.nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def samples(count: int) -> list[SegDataSample]:
    made = []
    for _ in range(count):
        labels = torch.randint(0, 19, (1, SIDE, SIDE))
        made.append(SegDataSample(gt_sem_seg=PixelData(data=labels)))
    return made


@pytest.mark.parametrize("network", NETWORKS)
def test_networks_learn_and_have_the_right_stride(network: str) -> None:
    model = MODELS.build(config_of(network).model)
    images = torch.rand(2, 3, SIDE, SIDE)
    losses = model.loss(images, samples(2))
    assert ("aux.loss_ce" in losses) == (network in ("imas", "u2pl"))
    with torch.inference_mode():
        features = model.eval().extract_feat(images)
    coarse = 9 if network == "u2pl" else 5
    assert [each.shape[-1] for each in features] == [17, 9, coarse, coarse]
    assert model.decode_head.conv_seg.in_channels == 256


def test_unimatchs_network_has_as_many_parameters_as_its_log_says() -> None:
    model = MODELS.build(config_of("unimatch").model)
    assert round(parameters(model) / 1e6, 1) == 40.5


@pytest.mark.parametrize("network", NETWORKS)
def test_evaluation_covers_cityscapes_as_the_original_does(network: str) -> None:
    config = config_of(network)
    options = WindowOptions(**config.evaluation)
    assert options.window == config.crop_size[0] == config.model.data_preprocessor.size[0]
    assert config.model.test_cfg.crop_size == config.crop_size
    assert config.model.test_cfg.stride == (options.stride, options.stride)
    truncated = network in ("unimatch", "imas")
    assert len(window_spans(1024, options)) == 2
    assert len(window_spans(2048, options)) == 4
    assert (window_spans(2048, options)[-1][0] == 3 * options.step) == truncated


def test_evaluation_fits_a_label_space_segmentor() -> None:
    config = config_of("unimatch")
    fields: dict[str, Any] = dict(config.model)
    fields.update(
        type="LabelSpaceSegmentor",
        label_space={"kind": "multiclass", "outputs": 5},
        windows={**config.evaluation, "window": 48, "stride": 32},
    )
    model = MODELS.build(fields).eval()
    with torch.inference_mode():
        probabilities = model.probabilities(torch.rand(1, 3, SIDE, SIDE))
    assert probabilities.shape == (1, 5, SIDE, SIDE)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(1, SIDE, SIDE))
