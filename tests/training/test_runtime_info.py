from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub

from im_bench.training.runtime_info import DeferredRuntimeInfoHook


@pytest.fixture
def runner(request):
    hub = MessageHub.get_instance(f"hooks-{request.node.name}")
    return SimpleNamespace(message_hub=hub, iter=0, max_iters=10)


def values(runner):
    return list(runner.message_hub.get_scalar("train/loss").data[0])


def step(hook, runner, iteration):
    runner.iter = iteration
    hook.after_train_iter(runner, iteration, outputs={"loss": torch.tensor(float(iteration))})


def test_losses_are_read_in_bundles_and_all_of_them(runner):
    hook = DeferredRuntimeInfoHook(interval=4)
    for iteration in range(3):
        step(hook, runner, iteration)
    assert "train/loss" not in runner.message_hub.log_scalars
    step(hook, runner, 3)
    assert values(runner) == [0, 1, 2, 3]
    for iteration in range(4, 10):
        step(hook, runner, iteration)
    assert values(runner) == list(range(10))  # the last step reads the rest


def test_a_checkpoint_holds_the_whole_history(runner):
    hook = DeferredRuntimeInfoHook(interval=100)
    step(hook, runner, 0)
    checkpoint = {"message_hub": "incomplete"}
    hook.before_save_checkpoint(runner, checkpoint)
    history = checkpoint["message_hub"]["log_scalars"]["train/loss"]
    assert list(history.data[0]) == [0]
