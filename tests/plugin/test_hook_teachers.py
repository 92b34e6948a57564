"""Teachers in whole trainings: whose they are, when they move, and how they continue."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from im_bench.errors import ImBenchError
from im_bench.models.checkpoints import load_checkpoint
from im_bench.plugin import InconsistencyMaskHook

from .hooks import EMA, parts, same, trained_batches, weights
from .trainings import (
    CUSTOM,
    DEEPLABV3PLUS,
    DINOV2,
    PSPNET,
    SEGFORMER,
    checkpoint,
    data_config,
    model_config,
    runner,
)


def test_teachers_are_out_of_reach_of_the_training(pictures: Path, tmp_path: Path):
    files = [checkpoint(tmp_path / f"{seed}.pth", PSPNET, seed) for seed in (1, 2)]
    hook = {"teachers": {"type": "CheckpointTeachers", "checkpoints": files}}
    training = runner(pictures, tmp_path / "run", model_config(PSPNET), hook)
    loaded = [torch.load(file, weights_only=True)["state_dict"].values() for file in files]
    before = [value for each in loaded for value in each]
    training.train()
    ensemble = parts(training).ensemble
    training.model.train()
    for teacher in ensemble.teachers:
        assert not any(module.training for module in teacher.network.modules())
        assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    assert same(weights(ensemble), before)  # BatchNorm statistics among them
    theirs = {id(each) for teacher in ensemble.teachers for each in teacher.network.parameters()}
    groups = training.optim_wrapper.optimizer.param_groups
    assert not theirs & {id(each) for group in groups for each in group["params"]}
    names = training.model.state_dict()
    assert len(names) == len(list(loaded[0]))


def test_heterogeneous_teachers_train_a_student_of_another_kind(pictures: Path, tmp_path: Path):
    kinds = [SEGFORMER, DEEPLABV3PLUS, PSPNET, DINOV2]
    files = [checkpoint(tmp_path / f"{seed}.pth", kind, seed) for seed, kind in enumerate(kinds)]
    models = [model_config(kind) for kind in kinds]
    teachers = {"type": "CheckpointTeachers", "checkpoints": files, "models": models}
    training = runner(pictures, tmp_path / "run", model_config(CUSTOM), {"teachers": teachers})
    before = [each.clone() for each in training.model.parameters()]
    batches = trained_batches(training)
    assert all("inconsistency" in sample for sample in batches[0]["data_samples"][2:])
    assert not same(before, list(training.model.parameters()))


def test_students_are_the_next_generations_teachers(pictures: Path, tmp_path: Path):
    first = runner(pictures, tmp_path / "1", model_config(CUSTOM), {"teachers": EMA}, save_every=1)
    first.train()
    files = [str(tmp_path / "1" / f"iter_{count}.pth") for count in (1, 2)]  # as MMEngine saves
    teachers = {"type": "CheckpointTeachers", "checkpoints": files}
    second = runner(pictures, tmp_path / "2", model_config(CUSTOM), {"teachers": teachers})
    second.train()
    newest = parts(second).ensemble.teachers[1].network
    assert same(list(newest.parameters()), list(first.model.parameters()))


def test_averages_move_only_when_the_optimiser_does(pictures: Path, tmp_path: Path):
    optim = {"accumulative_counts": 3}
    hook = {"teachers": EMA}
    training = runner(pictures, tmp_path, model_config(CUSTOM), hook, iterations=7, optim=optim)
    moved = []
    before: list[torch.Tensor] = []
    original = InconsistencyMaskHook.after_train_iter

    def spied(hook, *args, **kwargs):
        nonlocal before
        before = before or weights(hook.ensemble)
        original(hook, *args, **kwargs)
        now = weights(hook.ensemble)
        moved.append(not same(before, now))
        before = now

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InconsistencyMaskHook, "after_train_iter", spied)
        training.train()
    # The last iteration makes a step although the count is not full: MMEngine's rule.
    assert moved == [False, False, True, False, False, True, True]
    assert parts(training).ensemble.steps == 3


@pytest.mark.parametrize("teachers", [EMA, {"type": "SnapshotTeachers", "count": 2, "interval": 1}])
def test_a_resumed_training_is_the_uninterrupted_one(
    teachers, pictures: Path, tmp_path: Path, caplog
):
    # No dropout: MMEngine does not keep the state of random generators.
    model = model_config({**CUSTOM, "decode_head": {**CUSTOM["decode_head"], "dropout_ratio": 0}})
    model["backbone"]["type"] = "PluginTestSteadyBackbone"
    hook = {"teachers": teachers, "warmup": 1}
    whole = runner(pictures, tmp_path / "whole", model, hook, iterations=6)
    whole.train()
    first = runner(pictures, tmp_path / "parts", model, hook, iterations=3, save_every=3)
    first.train()
    second = runner(
        pictures, tmp_path / "parts", model, hook, iterations=6, resume=True, log_level="INFO"
    )
    with caplog.at_level("INFO"):
        second.train()
    log = "".join(path.read_text() for path in (tmp_path / "parts").rglob("*.log"))
    assert "Inconsistency Masks continue with 2 copies of the student, 3 optimiser steps" in log
    assert same(weights(parts(whole).ensemble), weights(parts(second).ensemble))
    assert same(list(whole.model.parameters()), list(second.model.parameters()))
    assert not same(list(first.model.parameters()), list(second.model.parameters()))


def test_testing_needs_no_teachers(pictures: Path, tmp_path: Path):
    loader = {
        "dataset": data_config(pictures)["labelled"],
        "batch_size": 1,
        "num_workers": 0,
        "sampler": {"type": "DefaultSampler", "shuffle": False},
    }
    teachers = {"type": "CheckpointTeachers", "checkpoints": ["gone.pth", "lost.pth"]}
    testing = runner(
        pictures,
        tmp_path,
        model_config(CUSTOM),
        {"teachers": teachers},
        test_dataloader=loader,
        test_cfg={"type": "TestLoop"},
        test_evaluator={"type": "IoUMetric"},
    )
    assert "mIoU" in testing.test()


def test_a_checkpoint_without_teachers_cannot_be_resumed(pictures: Path, tmp_path: Path):
    runner(pictures, tmp_path, model_config(CUSTOM), {"teachers": EMA}, save_every=2).train()
    (file,) = tmp_path.glob("iter_2.pth")
    content = load_checkpoint(file)
    del content["inconsistency_masks"]
    torch.save(content, file)
    again = runner(pictures, tmp_path, model_config(CUSTOM), {"teachers": EMA}, 3, resume=True)
    with pytest.raises(ImBenchError, match="holds no teachers"):
        again.train()


def test_weights_that_are_only_loaded_are_where_averages_start(pictures: Path, tmp_path: Path):
    file = checkpoint(tmp_path / "start.pth", CUSTOM, 5)
    training = runner(
        pictures, tmp_path / "run", model_config(CUSTOM), {"teachers": EMA}, 0, load_from=file
    )
    training.train()
    expected = torch.load(file, weights_only=True)["state_dict"].values()
    assert same(weights(parts(training).ensemble), [*expected, *expected])
