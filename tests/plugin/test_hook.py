"""What the hook does to the batches of a plain segmentor."""

from __future__ import annotations

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.utils._python_dispatch import TorchDispatchMode

from im_bench.errors import ImBenchError
from im_bench.masks import MaskOptions
from im_bench.plugin import EmaTeachers, InconsistencyMaskedLoss, InconsistencyMaskHook
from im_bench.plugin.masking import TeacherMasks
from im_bench.plugin.networks import Student

from .hooks import CONSTANT, EMA, ConstantTeachers, agreement, parts, trained_batches
from .trainings import CLASSES, CUSTOM, PREPROCESSOR, built, model_config, runner, write_images

MEAN = torch.tensor(PREPROCESSOR["mean"])


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


def test_images_that_are_loaded_with_16_bits_are_blanked_too(tmp_path: Path):
    write_images(tmp_path)
    for path in (tmp_path / "images" / "more").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 256)
    training = runner(tmp_path, tmp_path / "run", model_config(CUSTOM), {"teachers": CONSTANT}, 1)
    dataset = training.train_dataloader.dataset
    dataset.unlabelled.pipeline.transforms[0].color_type = "unchanged"
    (batch,) = trained_batches(training)
    _, disputed = agreement()
    for image in batch["inputs"][2:]:
        assert image.max() > 255
        assert torch.equal(image.eq(0).all(dim=(0, 1)), disputed)
