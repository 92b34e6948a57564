"""Semi-supervised methods with pseudo-labels that are made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from im_bench.errors import ImBenchError
from im_bench.methods.fixmatch import FixMatch
from im_bench.plugin import CheckpointTeachers
from im_bench.semi.step import View

from .hooks import parts, same
from .semi_trainings import WHOLE, end_workers, semi_data, semi_model, semi_runner
from .trainings import CUSTOM, SIZE, checkpoint, model_config, relatives, runner

IMAGES = 4


@pytest.fixture
def teachers(tmp_path: Path) -> dict[str, Any]:
    return {"type": "CheckpointTeachers", "checkpoints": relatives(tmp_path, CUSTOM)}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[View]:
    """The views that a method gets, with their masks: two in each iteration."""
    views: list[View] = []
    losses = FixMatch.losses

    def spied(method, step):
        views.extend(step.views.values())
        return losses(method, step)

    monkeypatch.setattr(FixMatch, "losses", spied)
    return views


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """What trained teachers are shown."""
    sizes: list[torch.Size] = []
    labels = CheckpointTeachers.labels

    def spied(ensemble, images, normalised):
        sizes.append(images.shape)
        return labels(ensemble, images, normalised)

    monkeypatch.setattr(CheckpointTeachers, "labels", spied)
    return sizes


@pytest.mark.parametrize(
    ("options", "load", "bgr_to_rgb"),
    [
        ({}, "PluginTestRGBLoader", False),
        ({"warmup": 1}, "LoadImageFromFile", True),
        ({"erode": 3, "dilate": 5}, "LoadImageFromFile", False),
        ({"image_filter": "foreground"}, "PluginTestRGBLoader", False),
    ],
)
def test_stored_masks_are_those_made_on_the_way(
    options, load, bgr_to_rgb, teachers, seen, pictures: Path, tmp_path: Path
):
    trained = []
    for cache in ({}, {"cache_dir": str(tmp_path / "cache")}):
        training = semi_runner(
            tmp_path / f"run{len(trained)}",
            semi_data(pictures, WHOLE, load),
            {"teachers": teachers, **options, **cache},
            semi_model(bgr_to_rgb),
            iterations=3,
        )
        training.train()
        trained.append([*training.model.parameters()])
    half = len(seen) // 2
    assert half == 3 * 2
    for online, stored in zip(seen[:half], seen[half:], strict=True):
        for first, second in zip(online, stored, strict=True):
            assert (first is None and second is None) or torch.equal(first, second)
    without = 2 * options.get("warmup", 0)
    assert [view.inconsistent is None for view in seen[:without]] == [True] * without
    shares = torch.stack([view.inconsistent.float().mean() for view in seen[without:half]])
    assert 0 < shares.mean() < 1
    assert same(*trained)


def test_teachers_are_asked_once_and_let_go(teachers, asked, seen, pictures: Path, tmp_path: Path):
    hook = {"teachers": teachers, "cache_dir": str(tmp_path / "cache")}
    training = semi_runner(tmp_path / "run", semi_data(pictures), hook, workers=2, iterations=5)
    training.train()
    end_workers(training)
    assert asked == [(1, 3, SIZE, SIZE)] * IMAGES
    assert training.model.masking is None
    assert not parts(training).ensemble.teachers
    assert len(seen) == 5 * 2
    for view in seen:
        assert view.inconsistent.any()
        assert not (view.inconsistent & ~view.valid).any()
    # The next student takes what is there, also where it is no semi-supervised one.
    semi_runner(tmp_path / "second", semi_data(pictures), hook).train()
    runner(pictures, tmp_path / "plain", model_config(CUSTOM), hook).train()
    assert len(asked) == IMAGES


def test_a_resumed_training_is_the_uninterrupted_one(
    teachers, asked, pictures: Path, tmp_path: Path
):
    hook = {"teachers": teachers, "cache_dir": str(tmp_path / "cache")}
    data = semi_data(pictures)
    whole = semi_runner(tmp_path / "whole", data, hook, iterations=4)
    whole.train()
    semi_runner(tmp_path / "parts", data, hook, iterations=2, save_every=2).train()
    resumed = semi_runner(tmp_path / "parts", data, hook, iterations=4, workers=2, resume=True)
    resumed.train()
    end_workers(resumed)
    assert same([*whole.model.state_dict().values()], [*resumed.model.state_dict().values()])
    assert len(asked) == IMAGES


def test_labels_of_other_teachers_are_refused(teachers, pictures: Path, tmp_path: Path):
    hook = {"teachers": teachers, "cache_dir": str(tmp_path / "cache")}
    semi_runner(tmp_path / "a", semi_data(pictures), hook).train()
    checkpoint(Path(teachers["checkpoints"][1]), CUSTOM, seed=7)  # the same name, other weights
    with pytest.raises(ImBenchError, match="were made by other teachers"):
        semi_runner(tmp_path / "b", semi_data(pictures), hook).train()


def test_batches_of_workers_that_know_of_no_cache_are_refused(
    teachers, pictures: Path, tmp_path: Path
):
    hook = {"teachers": teachers, "cache_dir": str(tmp_path / "cache")}
    training = semi_runner(tmp_path / "run", semi_data(pictures), hook)
    training._train_loop = training.build_train_loop(training._train_loop)
    early = next(iter(training.train_dataloader))
    parts(training).before_train(training)
    with pytest.raises(ImBenchError, match="build the data loader anew"):
        parts(training).before_train_iter(training, 0, early)


def test_multi_label_data_has_no_value_for_undecided(teachers, pictures: Path, tmp_path: Path):
    hook = {"teachers": teachers, "cache_dir": str(tmp_path / "cache")}
    model = semi_model() | {"label_space": {"kind": "multilabel", "outputs": 4}}
    with pytest.raises(ImBenchError, match="cannot be cached for multi-label data"):
        semi_runner(tmp_path / "run", semi_data(pictures), hook, model).train()
