from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from im_bench.data.semi import SemiDataset
from im_bench.errors import ImBenchError
from im_bench.training.semi_supervised_hook import SemiSupervisedHook


def runner_of(model: nn.Module, accumulate: int = 1) -> SimpleNamespace:
    optimiser = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], 0.1)
    wrapper = OptimWrapper(optimiser, accumulative_counts=accumulate)
    wrapper.initialize_count_status(model, 0, 6)
    return SimpleNamespace(
        model=model, optim_wrapper=wrapper, iter=0, max_iters=6, train_dataloader=[None] * 3
    )


def run(runner: SimpleNamespace, batch: dict, steps: int) -> list[bool]:
    """Train some steps; return after which of them the companion moved."""
    hook, model, moved = SemiSupervisedHook(), runner.model, []
    model.train()
    for step in range(steps):
        runner.iter = step
        before = [each.clone() for each in model.companion.parameters()]
        hook.before_train_iter(runner, step)
        model.train_step(batch, runner.optim_wrapper)
        hook.after_train_iter(runner, step)
        after = model.companion.parameters()
        moved.append(not all(map(torch.equal, before, after)))
    return moved


@pytest.mark.parametrize(("accumulate", "expected"), [(1, [True] * 4), (2, [False, True] * 2)])
def test_averages_follow_steps_of_the_optimiser_only(build, batch, accumulate, expected):
    model = build(method="imas")
    assert run(runner_of(model, accumulate), batch(), 4) == expected


def test_the_clock_counts_passes_over_the_unlabelled_images(build):
    model = build()
    runner = runner_of(model)
    runner.iter = 4
    SemiSupervisedHook().before_train_iter(runner, 4)
    assert (model.clock.iteration, model.clock.epoch, model.clock.epochs) == (4, 1, 2)
    assert model.data_preprocessor.iteration == 4
    SemiSupervisedHook(epoch_length=2).before_train_iter(runner, 4)
    assert (model.clock.epoch, model.clock.epochs) == (2, 3)


def test_averages_stay_in_evaluation_mode_and_out_of_the_optimiser(build):
    model = build(method="u2pl").train()
    averages = [model.companion, model.state["representation_ema"]]
    assert not any(each.training for average in averages for each in average.modules())
    assert not any(each.requires_grad for average in averages for each in average.parameters())
    assert all(each.training for each in model.student.modules())


def test_a_plain_segmentor_is_refused(build):
    runner = runner_of(build().student)
    with pytest.raises(ImBenchError, match="not a LabelSpaceSegmentor"):
        SemiSupervisedHook().before_train_iter(runner, 0)


def test_the_data_learn_which_labels_there_are(build):
    runner = runner_of(build())
    runner.train_dataloader = SimpleNamespace(dataset=SemiDataset.__new__(SemiDataset))
    SemiSupervisedHook().before_train(runner)
    assert runner.train_dataloader.dataset.label_count == runner.model.space.label_count


def test_networks_on_a_cpu_compute_as_fast_as_they_can(build):
    model = build(method="imas")
    SemiSupervisedHook().before_train(runner_of(model))
    for network in (model.student, model.companion):
        convolutions = [each for each in network.modules() if isinstance(each, nn.Conv2d)]
        pointwise = [each for each in convolutions if each.kernel_size == (1, 1)]
        assert pointwise
        assert all(each.dilation == (2, 2) for each in pointwise)
