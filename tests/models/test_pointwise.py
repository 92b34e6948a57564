"""1x1 convolutions on oneDNN."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from im_bench.models.pointwise import prefer_onednn


@pytest.mark.parametrize(
    "options", [{}, {"stride": 2}, {"padding": 1}, {"groups": 2}, {"bias": False}]
)
def test_results_and_gradients_stay(options):
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 6, 1, **options).double()
    images = torch.randn(3, 4, 7, 9, dtype=torch.float64)
    changed = copy.deepcopy(plain)
    prefer_onednn(changed)
    results = []
    for layer in (plain, changed):
        result = layer(images)
        result.square().sum().backward()
        results.append((result, layer.weight.grad))
    for before, after in zip(*results, strict=True):
        torch.testing.assert_close(after, before)


def test_other_convolutions_and_checkpoints_stay():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, dilation=3), nn.Conv2d(4, 4, (1, 3)), nn.Conv2d(4, 2, 1)
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prefer_onednn(model)
    assert [layer.dilation for layer in model] == [(3, 3), (1, 1), (2, 2)]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN")
def test_small_batches_on_one_thread_run_on_onednn():
    torch.set_num_threads(1)
    model = nn.Conv2d(64, 64, 1)
    prefer_onednn(model)
    with profile(activities=[ProfilerActivity.CPU]) as profiler, torch.no_grad():
        model(torch.randn(2, 64, 32, 32))
    assert "aten::mkldnn_convolution" in {event.key for event in profiler.key_averages()}
