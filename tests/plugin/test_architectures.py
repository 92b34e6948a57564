"""The hook on MMSegmentation's own architectures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from .trainings import ARCHITECTURES, SIZE, checkpoint, model_config, runner


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_any_architecture_learns_from_unlabelled_images(
    name: str, pictures: Path, tmp_path: Path
) -> None:
    architecture = ARCHITECTURES[name]
    files = [checkpoint(tmp_path / f"{seed}.pth", architecture, seed) for seed in (1, 2)]
    hook = {"teachers": {"type": "CheckpointTeachers", "checkpoints": files}, "log_interval": 1}
    training = runner(pictures, tmp_path / "run", model_config(architecture), hook)
    seen = []
    forward = training.model.loss

    def spied(inputs, data_samples):
        seen.append((inputs, data_samples))
        return forward(inputs, data_samples)

    training.model.loss = spied
    training.train()
    assert len(seen) == 2
    for inputs, samples in seen:
        assert inputs.shape == (4, 3, SIZE, SIZE)
        assert [bool(sample.get("unlabelled")) for sample in samples] == [False] * 2 + [True] * 2
        for image, sample in zip(inputs[2:], samples[2:], strict=True):
            labels, inconsistent = sample.gt_sem_seg.data[0], sample.inconsistency.data[0]
            assert torch.equal(labels == 255, inconsistent)
            black = (
                0 - training.model.data_preprocessor.mean
            ) / training.model.data_preprocessor.std
            assert torch.allclose(image[:, inconsistent], black.view(3, 1))
    share = training.message_hub.get_scalar("train/inconsistent_share").current()
    assert 0 < share < 1
