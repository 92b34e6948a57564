"""The hook in whole trainings, and the traps around it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

import im_bench.semi.preprocessor
import im_bench.semi.segmentor  # noqa: F401  registers
from im_bench.errors import ImBenchError
from im_bench.masks import MaskOptions
from im_bench.plugin import (
    TEACHERS,
    EmaTeachers,
    InconsistencyMaskedLoss,
    InconsistencyMaskHook,
    TeacherEnsemble,
)
from im_bench.plugin.checkpoints import read_checkpoint
from im_bench.plugin.masking import TeacherMasks
from im_bench.plugin.networks import Student
from im_bench.plugin.teachers import Teacher

from .trainings import (
    CLASSES,
    CUSTOM,
    DEEPLABV3PLUS,
    PREPROCESSOR,
    PSPNET,
    SEGFORMER,
    built,
    checkpoint,
    data_config,
    model_config,
    runner,
)

CONSTANT = {"type": "ConstantTeachers"}
EMA = {"type": "EmaTeachers", "decays": [0.5, 0.9]}
MEAN = torch.tensor(PREPROCESSOR["mean"])


class Constant(nn.Module):
    """A segmentor that sees each class in one column of the image, or is one column off."""

    out_channels = CLASSES

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset
        self.seen: list[torch.Tensor] = []

    def encode_decode(self, inputs: torch.Tensor, metas: Any) -> torch.Tensor:
        self.seen.append(inputs)
        columns = torch.arange(inputs.shape[-1])
        labels = ((columns + self.offset) // 8 % CLASSES).expand(inputs.shape[-2], -1)
        logits = nn.functional.one_hot(labels, CLASSES).permute(2, 0, 1).float()
        return logits.expand(len(inputs), -1, -1, -1)


@TEACHERS.register_module()
class ConstantTeachers(TeacherEnsemble):
    """Two teachers that disagree in the last column of every eight."""

    online = False

    def prepare(self, student):
        self.teachers = [Teacher(Constant(offset), student) for offset in (0, 1)]

    def state_dict(self):
        return {}

    def load_state_dict(self, state, student):
        pass


def agreement(width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what :class:`ConstantTeachers` agree on, and where they do not."""
    columns = torch.arange(width)
    return columns // 8 % CLASSES, columns % 8 == 7


def trained_batches(training: Any) -> list[dict[str, Any]]:
    """Train, and return the batches as ``train_step`` gets them."""
    batches = []
    step = training.model.train_step

    def spied(data, optim_wrapper):
        batches.append({"inputs": list(data["inputs"]), "data_samples": data["data_samples"]})
        return step(data, optim_wrapper)

    training.model.train_step = spied
    training.train()
    return batches


def parts(training: Any) -> InconsistencyMaskHook:
    return next(each for each in training.hooks if isinstance(each, InconsistencyMaskHook))


def weights(teachers: TeacherEnsemble) -> list[torch.Tensor]:
    return [
        value.clone() for each in teachers.teachers for value in each.network.state_dict().values()
    ]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("fill", ["black", "mean"])
def test_unlabelled_samples_are_filled_in(fill, pictures: Path, tmp_path: Path):
    plain = runner(pictures, tmp_path / "plain", model_config(CUSTOM), None, iterations=1)
    raw = next(iter(plain.train_dataloader))
    hook = {"teachers": CONSTANT, "fill": fill}
    training = runner(pictures, tmp_path / "im", model_config(CUSTOM), hook, iterations=1)
    (batch,) = trained_batches(training)
    labels, disputed = agreement()
    for position, (image, before) in enumerate(zip(batch["inputs"], raw["inputs"], strict=True)):
        sample, untouched = batch["data_samples"][position], raw["data_samples"][position]
        if position < 2:
            assert torch.equal(image, before)
            assert torch.equal(sample.gt_sem_seg.data, untouched.gt_sem_seg.data)
            assert "inconsistency" not in sample
            continue
        assert torch.equal(
            sample.gt_sem_seg.data, labels.masked_fill(disputed, 255).expand(1, 64, -1)
        )
        assert torch.equal(sample.inconsistency.data, disputed.expand(1, 64, -1))
        # The image is still raw: 0..255, as loaded, and BGR, so that the mean is turned round.
        blank = torch.zeros(3) if fill == "black" else MEAN.flip(0)
        expected = torch.where(disputed, blank.view(3, 1, 1), before.float())
        torch.testing.assert_close(image.float(), expected)
    # What the teachers saw is what the student's preprocessor makes of the raw image.
    seen = parts(training).ensemble.teachers[0].network.seen
    expected = training.model.data_preprocessor(copy.deepcopy(raw), training=True)["inputs"][2:]
    torch.testing.assert_close(torch.cat(seen), expected, atol=1e-5, rtol=1e-5)


def test_images_of_different_sizes_and_padding(pictures: Path, tmp_path: Path):
    training = runner(pictures, tmp_path, model_config(CUSTOM), {"teachers": CONSTANT})
    hook = parts(training)
    training.optim_wrapper = training.build_optim_wrapper(training.optim_wrapper)
    training._train_loop = training.build_train_loop(training._train_loop)
    hook.before_train(training)
    samples = []
    for height, width in ((32, 64), (64, 32), (32, 64)):
        marks = torch.full((1, height, width), 254)
        marks[:, :, -4:] = 255
        samples.append(SegDataSample(metainfo={"unlabelled": True}))
        samples[-1].gt_sem_seg = PixelData(data=marks)
    images = [torch.full((3, *sample.gt_sem_seg.shape), 9, dtype=torch.uint8) for sample in samples]
    batch = {"inputs": images, "data_samples": samples}
    hook.before_train_iter(training, 0, batch)
    for sample, image in zip(batch["data_samples"], batch["inputs"], strict=True):
        labels, disputed = agreement(image.shape[-1])
        labels[-4:], disputed[-4:] = 255, False
        labels = labels.masked_fill(disputed, 255)
        assert torch.equal(sample.gt_sem_seg.data, labels.expand(1, *image.shape[1:]))
        assert torch.equal(sample.inconsistency.data, disputed.expand(1, *image.shape[1:]))


def test_options_of_the_mask(pictures: Path, tmp_path: Path):
    hook = {"teachers": CONSTANT, "dilate": 3, "block_input": False}
    training = runner(pictures, tmp_path, model_config(CUSTOM), hook, iterations=1)
    (batch,) = trained_batches(training)
    _, disputed = agreement()
    wide = disputed | disputed.roll(1) | disputed.roll(-1)
    wide[0] = False  # nothing comes round from the last column
    sample = batch["data_samples"][3]
    assert torch.equal(sample.inconsistency.data, wide.expand(1, 64, -1))
    assert torch.equal(sample.gt_sem_seg.data == 255, wide.expand(1, 64, -1))
    assert batch["inputs"][3][:, 0, 7].any()


def test_without_teachers_unlabelled_samples_teach_nothing(pictures: Path, tmp_path: Path):
    hook = {"teachers": {"type": "SnapshotTeachers", "count": 2, "interval": 1}}
    training = runner(pictures, tmp_path, model_config(CUSTOM), hook, iterations=4)
    batches = trained_batches(training)
    for iteration, batch in enumerate(batches):
        ignored = [sample.gt_sem_seg.data.eq(255).all() for sample in batch["data_samples"]]
        assert ignored[:2] == [False, False]
        assert ignored[2:] == [iteration < 2] * 2


def test_warm_up_and_ramp(pictures: Path, tmp_path: Path):
    hook = {"teachers": CONSTANT, "warmup": 2, "ramp": 6}
    training = runner(pictures, tmp_path, model_config(CUSTOM), hook, iterations=14)
    used = [
        sum("inconsistency" in sample for sample in batch["data_samples"])
        for batch in trained_batches(training)
    ]
    assert used[:2] == [0, 0]
    assert used[8:] == [2] * 6
    assert 0 < sum(used[2:8]) < 12


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
    kinds = [SEGFORMER, DEEPLABV3PLUS, PSPNET]
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


def test_teachers_predict_under_the_models_autocast(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    types = []
    labels = ConstantTeachers.labels

    def spied(ensemble, images, normalised):
        types.append((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
        return labels(ensemble, images, normalised)

    monkeypatch.setattr(ConstantTeachers, "labels", spied)
    optim = {"type": "PluginTestAmpWrapper"}
    training = runner(pictures, tmp_path, model_config(CUSTOM), {"teachers": CONSTANT}, optim=optim)
    training.train()
    assert types == [(True, torch.bfloat16)] * 2
    assert all(each.isfinite().all() for each in training.model.parameters())


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
    content = read_checkpoint(file)
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fill": "white"}, "known are black, mean"),
        ({"erode": -1}, "'erode'"),
        ({"warmup": -1}, "must not be negative"),
        ({"image_filter": "some"}, "image filter"),
    ],
)
def test_bad_options_are_refused_at_once(options, message):
    with pytest.raises(ImBenchError, match=message):
        InconsistencyMaskHook(EMA, **options)


def test_a_multi_label_segmentor_cannot_wait_for_its_teachers():
    model = built(
        CUSTOM,
        type="LabelSpaceSegmentor",
        label_space={"kind": "multilabel", "outputs": 3},
    )
    with pytest.raises(ImBenchError, match="multi-label labels cannot be ignored"):
        InconsistencyMaskHook(EMA).before_train(FakeRunner(model))


class NoWaiting(TorchDispatchMode):
    """Refuse what makes Python wait for a device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero"), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("fill", ["black", "mean"])
def test_a_step_does_not_wait_for_the_device(fill):
    student = Student.of(built(CUSTOM))
    ensemble = EmaTeachers([0.5, 0.9])
    ensemble.prepare(student)
    options = MaskOptions(erode=3, dilate=5, blocked_label=255, image_filter="foreground")
    masks = TeacherMasks(ensemble, student, options, fill, reverse=True)
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    marks = torch.full((2, 32, 32), 254, dtype=torch.uint8)
    logits = torch.randn(2, CLASSES, 32, 32, requires_grad=True)
    with NoWaiting():
        for cached in (False, True):
            filled = masks.fill_in(images, marks, cached=cached)
        masks.mask(images / 255, images / 255)
        masks.stored(marks, marks == 254)
        ensemble.after_step(student)
        for loss in ({"type": "CrossEntropyLoss"}, {"type": "DiceLoss"}):
            masked = InconsistencyMaskedLoss(loss, "kept")
            masked(logits, filled.labels.long(), mask=filled.inconsistent).backward()


def test_a_segmentor_of_im_bench_is_a_plain_one_too(pictures: Path, tmp_path: Path):
    model = model_config(
        CUSTOM,
        type="LabelSpaceSegmentor",
        label_space={"kind": "multiclass", "outputs": CLASSES},
        data_preprocessor={"type": "BatchPreprocessor"},
    )
    model.pop("test_cfg")
    training = runner(pictures, tmp_path, model, {"teachers": EMA})
    batches = trained_batches(training)
    assert all("inconsistency" in sample for sample in batches[1]["data_samples"][2:])
