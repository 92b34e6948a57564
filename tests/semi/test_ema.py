from __future__ import annotations

import pytest
import torch
from torch import nn

from im_bench.semi.ema import averaged_copy, update_average


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def test_copy_is_frozen_in_evaluation_mode_and_apart(module):
    average = averaged_copy(module.train())
    assert not average.training
    assert not any(each.requires_grad for each in average.parameters())
    with torch.no_grad():
        module[0].weight.add_(1)
    assert not torch.equal(average[0].weight, module[0].weight)


@pytest.mark.parametrize("decay", [0.0, 0.9, 1.0])
def test_average_moves_towards_the_module(module, decay):
    average = averaged_copy(module)
    start = average[0].weight.clone()
    module(torch.rand(2, 3, 4, 4))
    with torch.no_grad():
        module[0].weight.mul_(3)
    update_average(average, module, decay)
    torch.testing.assert_close(
        average[0].weight, start * decay + module[0].weight * (1 - decay), rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(
        average[1].running_mean, module[1].running_mean * (1 - decay), rtol=1e-6, atol=1e-6
    )
    assert average[1].num_batches_tracked == 1


def test_buffers_can_be_left_alone(module):
    average = averaged_copy(module)
    module(torch.rand(2, 3, 4, 4))
    update_average(average, module, 0.0, buffers=False)
    assert average[1].running_mean.eq(0).all()
    assert average[1].num_batches_tracked == 0
