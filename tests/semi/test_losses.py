from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from im_bench.data.label_spaces import label_space
from im_bench.errors import ImBenchError
from im_bench.semi import losses
from im_bench.semi.pseudo_label import PseudoLabel
from im_bench.semi.registered_losses import OhemCrossEntropyLoss

seeds = st.integers(0, 1000)


def example(seed: int, classes: int = 4, ignored: float = 0.2) -> tuple[Tensor, Tensor]:
    """Return logits (2, K, 5, 6) and labels (2, 5, 6), some of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, classes, 5, 6, generator=generator)
    labels = torch.randint(classes, (2, 5, 6), generator=generator)
    left_out = torch.rand(2, 5, 6, generator=generator) < ignored
    return logits.requires_grad_(), labels.masked_fill(left_out, 255)


class TestMasks:
    def label(self) -> PseudoLabel:
        return PseudoLabel(
            label=torch.zeros(1, 1, 4, dtype=torch.uint8),
            confidence=torch.tensor([[[0.9, 0.5, 0.9, 0.9]]]),
            valid=torch.tensor([[[True, True, True, False]]]),
            kept=torch.tensor([[[True, True, False, True]]]),
        )

    def test_a_pixel_teaches_from_the_threshold_on_if_it_is_kept(self):
        assert losses.confident(self.label(), 0.9).tolist() == [[[True, False, False, True]]]
        assert losses.confident(self.label(), 0.0).sum() == 3

    def test_pixels_that_do_not_teach_count_in_the_denominator(self):
        label = self.label()
        pixel_loss = torch.full((1, 1, 4), 6.0)
        mean = losses.masked_mean(pixel_loss, losses.confident(label, 0.9), label.valid)
        assert mean == 2

    def test_losses_that_are_left_out_may_be_infinite(self):
        pixel_loss = torch.tensor([1.0, math.inf], requires_grad=True)
        teaching = torch.tensor([True, False])
        mean = losses.masked_mean(pixel_loss, teaching, torch.ones_like(teaching))
        mean.backward()
        assert mean == 0.5
        assert pixel_loss.grad.tolist() == [0.5, 0]

    def test_nothing_valid_is_nothing_lost(self):
        nowhere = torch.zeros(2, 3, dtype=torch.bool)
        assert losses.masked_mean(torch.ones(2, 3), ~nowhere, nowhere) == 0
        assert losses.share(~nowhere, nowhere) == 0

    def test_share_counts_valid_pixels_only(self):
        label = self.label()
        assert losses.share(label.confidence > 0.5, label.valid) == pytest.approx(2 / 3)


class TestOhem:
    def reference(self, logits, labels, threshold, min_kept) -> Tensor:
        """Select pixels one by one."""
        valid = labels != 255
        target = labels.where(valid, 0).unsqueeze(1)
        probability = logits.softmax(1).gather(1, target).squeeze(1)
        kept = valid.clone()
        if 0 < min_kept <= valid.sum():
            smallest = probability[valid].sort().values[min_kept - 1]
            kept = valid & (probability <= max(threshold, smallest.item()))
        return F.cross_entropy(logits, labels.where(kept, 255), ignore_index=255)

    @given(seeds, st.floats(0, 1), st.integers(0, 70))
    def test_equals_the_selection_pixel_by_pixel(self, seed, threshold, min_kept):
        logits, labels = example(seed)
        mined = losses.ohem(logits, labels, threshold, min_kept)
        torch.testing.assert_close(mined, self.reference(logits, labels, threshold, min_kept))

    @given(seeds, st.integers(1, 40))
    def test_so_many_pixels_are_hard_at_least(self, seed, min_kept):
        logits, labels = example(seed)
        hard = losses.hard_pixels(logits, labels, 0.01, min_kept)
        assert hard.sum() >= min(min_kept, (labels != 255).sum())
        assert not hard[labels == 255].any()

    def test_too_few_valid_pixels_all_count(self):
        logits, labels = example(0)
        mined = losses.ohem(logits, labels, 0.7, 1000)
        torch.testing.assert_close(mined, F.cross_entropy(logits, labels, ignore_index=255))

    def test_all_ignored_is_zero_with_zero_gradient(self):
        logits, labels = example(0)
        nothing = torch.full_like(labels, 255)
        mined = losses.ohem(logits, nothing, 0.7, 10)
        mined.backward()
        assert mined == 0
        assert logits.grad.eq(0).all()
        assert losses.ohem(logits, nothing, empty=math.nan).isnan()

    def test_weights_of_classes_weight_the_mean(self):
        logits, labels = example(0)
        weight = torch.tensor([0.5, 1.0, 2.0, 4.0])
        mined = losses.ohem(logits, labels, min_kept=0, class_weight=weight)
        expected = F.cross_entropy(logits, labels, weight, ignore_index=255)
        torch.testing.assert_close(mined, expected)

    def test_is_float32_under_autocast(self):
        logits, labels = example(0)
        with torch.autocast("cpu", torch.bfloat16):
            mined = losses.ohem(logits.bfloat16(), labels.byte(), 0.7, 10)
        assert mined.dtype == torch.float32


class TestOhemInMMSegmentation:
    def test_a_decode_head_trains_with_it(self):
        head = MODELS.build(
            {
                "type": "FCNHead",
                "in_channels": 8,
                "channels": 8,
                "num_convs": 1,
                "num_classes": 4,
                "loss_decode": {"type": "OhemCrossEntropyLoss", "min_kept": 5, "loss_weight": 2.0},
            }
        )
        _, labels = example(0)
        samples = [SegDataSample() for _ in labels]
        for sample, label in zip(samples, labels, strict=True):
            sample.gt_sem_seg = PixelData(data=label[None])
        features = torch.rand(2, 8, 5, 6)
        found = head.eval().loss([features], samples, {})
        expected = 2 * losses.ohem(head([features]), labels, 0.7, 5)
        torch.testing.assert_close(found["loss_ohem"], expected)

    def test_pixels_of_weight_zero_are_ignored(self):
        logits, labels = example(0, ignored=0)
        weight = (torch.arange(60).view(2, 5, 6) < 30).float()
        found = OhemCrossEntropyLoss(min_kept=5)(logits, labels, weight)
        expected = losses.ohem(logits, labels.masked_fill(weight == 0, 255), 0.7, 5)
        assert found == expected

    def test_another_index_may_mean_ignored(self):
        logits, labels = example(0)
        loss = OhemCrossEntropyLoss(min_kept=5)
        found = loss(logits, labels.masked_fill(labels == 255, 100), ignore_index=100)
        assert found == loss(logits, labels)

    def test_weights_of_classes_move_with_the_module(self):
        loss = OhemCrossEntropyLoss(class_weight=[1, 2, 3, 4])
        assert loss.to(torch.float64).class_weight.dtype == torch.float64
        assert not loss.state_dict()

    def test_bad_input_is_refused(self):
        with pytest.raises(ImBenchError, match=r"threshold=1.5 and min_kept=3: give a probability"):
            OhemCrossEntropyLoss(1.5, 3)
        with pytest.raises(ImBenchError, match="at least 2 classes, not one channel"):
            OhemCrossEntropyLoss()(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2))


class TestDice:
    def test_perfect_is_zero_and_opposite_is_one(self):
        target = torch.tensor([[[1, 1, 0, 0]], [[0, 1, 1, 0]]], dtype=torch.float32)
        both = torch.stack([target, 1 - target], 1)
        assert losses.dice(both, both) == pytest.approx(0, abs=1e-6)
        assert losses.dice(1 - both, both) == pytest.approx(1, abs=1e-3)

    @given(seeds)
    def test_ignoring_pixels_is_the_same_as_not_having_them(self, seed):
        logits, labels = example(seed, ignored=0)
        probabilities, target = logits.softmax(1), F.one_hot(labels, 4).movedim(-1, 1)
        ignore = torch.zeros_like(labels, dtype=torch.bool)
        ignore[:, 3:] = True
        found = losses.dice(probabilities, target, ignore)
        torch.testing.assert_close(found, losses.dice(probabilities[:, :, :3], target[:, :, :3]))

    def test_everything_ignored_is_zero(self):
        ignore = torch.ones(1, 3, 3, dtype=torch.bool)
        assert losses.dice(torch.rand(1, 2, 3, 3), torch.ones(1, 2, 3, 3), ignore) == 0

    def test_volumes_are_like_planes(self):
        probabilities, target = torch.rand(2, 3, 4, 5, 6), torch.rand(2, 3, 4, 5, 6).round()
        expected = losses.dice(probabilities.flatten(2, 3), target.flatten(2, 3))
        torch.testing.assert_close(losses.dice(probabilities, target), expected)


class TestLabelDice:
    def test_multiclass_is_dice_over_the_softmax(self):
        logits, labels = example(0, ignored=0)
        space = label_space("multiclass", 4)
        expected = losses.dice(logits.softmax(1), F.one_hot(labels, 4).movedim(-1, 1))
        torch.testing.assert_close(losses.label_dice(space, logits, labels.byte()), expected)

    def test_binary_counts_background_or_not(self):
        space = label_space("binary", 1)
        logits, labels = torch.randn(2, 1, 5, 6), torch.randint(2, (2, 5, 6), dtype=torch.uint8)
        present, target = logits.sigmoid(), labels.unsqueeze(1)
        foreground = losses.dice(present, target)
        background = losses.dice(1 - present, 1 - target)
        both = losses.label_dice(space, logits, labels)
        torch.testing.assert_close(both, (foreground + background) / 2)
        alone = losses.label_dice(space, logits, labels, background=False)
        torch.testing.assert_close(alone, foreground)

    def test_each_class_of_a_multilabel_task_has_its_own_overlap(self):
        space = label_space("multilabel", 3)
        logits, labels = torch.randn(2, 3, 5, 6), torch.randint(8, (2, 5, 6), dtype=torch.uint8)
        found = losses.label_dice(space, logits, labels, background=False)
        expected = losses.dice(logits.sigmoid(), space.one_hot(labels))
        torch.testing.assert_close(found, expected)

    def test_ignored_labels_are_no_class(self):
        logits, labels = example(0)
        space = label_space("multiclass", 4)
        ignore = labels == 255
        found = losses.label_dice(space, logits, labels.byte(), ignore)
        other = losses.label_dice(space, logits, labels.masked_fill(ignore, 3).byte(), ignore)
        assert found == other


@given(seeds)
def test_reverse_cross_entropy_is_that_of_the_clamped_label(seed):
    logits, labels = example(seed)
    valid = labels != 255
    target = F.one_hot(labels.where(valid, 0), 4).movedim(-1, 1).clamp(1e-4, 1)
    expected = -(logits.softmax(1) * target.log()).sum(1)[valid].mean()
    torch.testing.assert_close(losses.reverse_cross_entropy(logits, labels), expected)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_no_loss_looks_at_values(kind):
    """What would wait for a GPU cannot be done with tensors that have no values."""
    space = label_space(kind, {"binary": 1, "multiclass": 4, "multilabel": 3}[kind])
    with FakeTensorMode():
        logits = torch.empty(2, space.outputs, 5, 6)
        labels = torch.empty(2, 5, 6, dtype=torch.uint8)
        teaching = labels > 0
        softmax = space.categorical(logits), space.categories(labels)
        found = [
            losses.ohem(*softmax, 0.7, 10),
            losses.reverse_cross_entropy(*softmax),
            losses.label_dice(space, logits, labels, teaching),
            losses.masked_mean(space.pixel_loss(logits, labels), teaching, teaching),
            losses.share(teaching, teaching),
        ]
        with pytest.raises(DataDependentOutputException):
            found[0].item()
    assert [each.shape for each in found] == [()] * len(found)
