"""The hook beside models that ask it themselves, and those that it cannot serve."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn
from torch.utils.data import DataLoader

import im_bench.semi.preprocessor
import im_bench.training.semi_supervised  # noqa: F401  registers
from im_bench.errors import ImBenchError
from im_bench.plugin import InconsistencyMaskHook

from .hooks import EMA, ConstantTeachers, agreement
from .trainings import CLASSES, CUSTOM, built


class FakeRunner:
    """As much of a runner as the hook needs for a semi-supervised model."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.iter, self.seed = model, 0, 0
        self.train_dataloader = DataLoader([])


def fixmatch(**fields: Any) -> Any:
    init_default_scope("mmseg")
    return MODELS.build(
        {
            "type": "SemiSupervisedSegmentor",
            "segmentor": {"type": "EncoderDecoder", **copy.deepcopy(CUSTOM)},
            "method": {"name": "fixmatch"},
            "label_space": {"kind": "multiclass", "outputs": CLASSES},
            "data_preprocessor": {"type": "SemiPreprocessor"},
            **fields,
        }
    )


def test_a_semi_supervised_model_asks_itself():
    model = fixmatch()
    hook = InconsistencyMaskHook(ConstantTeachers(), warmup=1)
    training = FakeRunner(model)
    hook.before_train(training)
    raw = {
        "inputs": {
            name: torch.randint(256, (2, 32, 32, 3), dtype=torch.uint8)
            for name in ("labelled", "unlabelled", "partner")
        },
        "data_samples": {"labelled": torch.zeros(2, 32, 32, dtype=torch.uint8)},
    }
    prepared = model.data_preprocessor(raw, training=True)
    for iteration in range(2):
        training.iter = iteration
        hook.before_train_iter(training, iteration, raw)
        losses = model(**prepared, mode="loss")
        assert ("inconsistent" in losses) == (iteration > 0)
    labels, disputed = agreement(32)
    assert float(losses["inconsistent"]) == pytest.approx(float(disputed.float().mean()))
    images = prepared["inputs"]["unlabelled"].images
    consensus, inconsistent = model.masking.mask(images, model.data_preprocessor.normalise(images))
    assert torch.equal(consensus, labels.masked_fill(disputed, 0).byte().expand(2, 32, -1))
    assert torch.equal(inconsistent, disputed.expand(2, 32, -1))


def test_averages_of_a_semi_supervised_model_are_its_students():
    model = fixmatch()
    hook = InconsistencyMaskHook(EMA)
    hook.before_train(FakeRunner(model))
    names = {name for name, _ in model.student.named_parameters()}
    for teacher in hook.ensemble.teachers:
        assert {name for name, _ in teacher.network.named_parameters()} == names
    assert not any("teacher" in name for name in model.state_dict())


@pytest.mark.parametrize("options", [{"fill": "mean"}, {"block_input": False}, {"ramp": 3}])
def test_options_for_plain_segmentors_are_refused_for_methods(options):
    with pytest.raises(ImBenchError, match="for plain segmentors"):
        InconsistencyMaskHook(ConstantTeachers(), **options).before_train(FakeRunner(fixmatch()))


def test_a_multi_label_segmentor_cannot_wait_for_its_teachers():
    model = built(
        CUSTOM,
        type="LabelSpaceSegmentor",
        label_space={"kind": "multilabel", "outputs": 3},
    )
    with pytest.raises(ImBenchError, match="multi-label labels cannot be ignored"):
        InconsistencyMaskHook(EMA).before_train(FakeRunner(model))
