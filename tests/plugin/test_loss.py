"""What inconsistent pixels do to a loss: nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from mmseg.models.losses import CrossEntropyLoss
from mmseg.registry import MODELS
from torch import Tensor, nn

from im_bench.errors import ImBenchError
from im_bench.plugin import InconsistencyMaskedLoss

CE = {"type": "CrossEntropyLoss"}
LOSSES: dict[str, dict[str, Any]] = {
    "cross-entropy": CE,
    "weighted-cross-entropy": {**CE, "class_weight": [1.0, 2.0, 0.5]},
    "sigmoid": {**CE, "use_sigmoid": True},
    "dice": {"type": "DiceLoss", "use_sigmoid": False},
    "sigmoid-dice": {"type": "DiceLoss"},
    "tversky": {"type": "TverskyLoss"},
    "lovasz": {"type": "LovaszLoss", "reduction": "none"},
    "ohem": {"type": "OhemCrossEntropy", "min_kept": 5},
}


def masked(loss: dict[str, Any], normalise: str = "all") -> InconsistencyMaskedLoss:
    return InconsistencyMaskedLoss(loss, normalise)


def example(seed: int = 0, classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 6, 5, generator=generator)
    labels = torch.randint(classes, (2, 6, 5), generator=generator)
    inconsistent = torch.rand(2, 6, 5, generator=generator) < 0.4
    return logits, labels, inconsistent


def gradient(loss: nn.Module, logits: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, *args, **kwargs)
    value.backward()
    return value.detach(), logits.grad


@pytest.mark.parametrize("normalise", ["all", "kept"])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("way", ["mask", "254", "255"])
def test_inconsistent_pixels_add_nothing_and_send_no_gradient(name, normalise, way):
    loss = masked(LOSSES[name], normalise)
    logits, labels, inconsistent = example()
    mask = inconsistent if way == "mask" else None
    target = labels if way == "mask" else labels.masked_fill(inconsistent, int(way))
    value, grad = gradient(loss, logits, target, mask=mask)
    assert grad.abs().sum() > 0
    assert (grad * inconsistent[:, None]).eq(0).all()
    other = torch.where(inconsistent[:, None], torch.randn_like(logits) * 9, logits)
    if way == "mask":
        target = target.masked_fill(inconsistent, 1)
    torch.testing.assert_close(gradient(loss, other, target, mask=mask), (value, grad))


@pytest.mark.parametrize("name", LOSSES)
def test_without_inconsistent_pixels_a_loss_is_itself(name):
    if name == "weighted-cross-entropy":
        pytest.skip("MMSegmentation divides by the class weights, the wrapper by the pixels")
    logits, labels, _ = example()
    expected = gradient(MODELS.build(LOSSES[name]), logits, labels)
    for normalise in ("all", "kept"):
        torch.testing.assert_close(
            gradient(masked(LOSSES[name], normalise), logits, labels), expected
        )


def test_the_divisor_is_all_pixels_or_kept_ones():
    logits, labels, inconsistent = example()
    pixels = F.cross_entropy(logits, labels, reduction="none")
    total = pixels[~inconsistent].sum()
    ignored = labels.masked_fill(inconsistent, 255)
    torch.testing.assert_close(masked(CE)(logits, ignored), total / labels.numel())
    torch.testing.assert_close(masked(CE, "kept")(logits, ignored), total / (~inconsistent).sum())
    # The trap: what MMSegmentation does by default depends on how much is ignored.
    torch.testing.assert_close(
        CrossEntropyLoss()(logits, ignored, ignore_index=255), total / labels.numel()
    )


def test_a_region_loss_is_scaled_by_the_share_of_kept_pixels():
    logits, labels, inconsistent = example()
    kept = masked(LOSSES["dice"], "kept")(logits, labels, mask=inconsistent)
    share = (~inconsistent).float().mean()
    torch.testing.assert_close(
        masked(LOSSES["dice"])(logits, labels, mask=inconsistent), kept * share
    )


def test_dice_over_kept_pixels_is_dice_of_an_image_without_the_others():
    logits, labels, _ = example()
    inconsistent = torch.zeros_like(labels, dtype=torch.bool)
    inconsistent[:, 4:] = True
    torch.testing.assert_close(
        masked(LOSSES["dice"], "kept")(logits, labels, mask=inconsistent),
        MODELS.build(LOSSES["dice"])(logits[:, :, :4], labels[:, :4]),
    )


@given(st.integers(0, 1000), st.sampled_from(["all", "kept"]))
def test_soft_labels(seed, normalise):
    logits, _, inconsistent = example(seed)
    soft = torch.randn_like(logits).softmax(1)
    value, grad = gradient(masked(CE, normalise), logits, soft, mask=inconsistent)
    pixels = -(soft * logits.log_softmax(1)).sum(1)
    divisor = inconsistent.numel() if normalise == "all" else (~inconsistent).sum().clamp(min=1)
    torch.testing.assert_close(value, pixels[~inconsistent].sum() / divisor)
    assert (grad * inconsistent[:, None]).eq(0).all()


@given(st.integers(0, 1000), st.sampled_from(["all", "kept"]))
def test_multi_label_targets_ignore_single_channels_too(seed, normalise):
    logits, _, inconsistent = example(seed)
    target = torch.randint(2, logits.shape)
    target[:, 0, 0] = 255
    value, grad = gradient(
        masked({**CE, "use_sigmoid": True}, normalise), logits, target, mask=inconsistent
    )
    kept = (target != 255) & ~inconsistent[:, None]
    terms = F.binary_cross_entropy_with_logits(
        logits, target.clamp(max=1).float(), reduction="none"
    )
    divisor = kept.numel() if normalise == "all" else kept.sum().clamp(min=1)
    torch.testing.assert_close(value, terms[kept].sum() / divisor)
    assert grad[~kept].eq(0).all()


@pytest.mark.parametrize("name", ["cross-entropy", "sigmoid", "dice", "tversky"])
@pytest.mark.parametrize("normalise", ["all", "kept"])
def test_a_batch_without_any_consistent_pixel_is_harmless(name, normalise):
    logits, labels, _ = example()
    value, grad = gradient(masked(LOSSES[name], normalise), logits, torch.full_like(labels, 255))
    assert value.isfinite()
    assert grad.eq(0).all()


def test_a_single_sigmoid_with_nothing_left_does_not_fail():
    logits, _, _ = example(classes=1)
    loss = masked({**CE, "use_sigmoid": True})
    assert loss(logits, torch.full((2, 6, 5), 255)) == 0


def test_weights_scale_pixels_but_not_the_divisor():
    logits, labels, inconsistent = example()
    weight = torch.rand(2, 6, 5)
    expected = (F.cross_entropy(logits, labels, reduction="none") * weight * ~inconsistent).mean()
    torch.testing.assert_close(
        masked(CE)(logits, labels, weight=weight, mask=inconsistent), expected
    )


def test_losses_are_float32_under_autocast():
    logits, labels, _ = example()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert masked(CE)(logits.bfloat16(), labels).dtype == torch.float32


def test_a_network_with_it_can_be_copied_as_teachers_are():
    logits, labels, inconsistent = example()
    loss = masked(CE)
    copied = copy.deepcopy(loss)
    assert copied(logits, labels, mask=inconsistent) == loss(logits, labels, mask=inconsistent)


def test_it_has_the_name_of_the_loss():
    assert masked({**CE, "loss_name": "loss_x"}).loss_name == "loss_x"
    assert InconsistencyMaskedLoss(CE, loss_name="loss_y").loss_name == "loss_y"


def test_a_loss_that_cannot_leave_out_pixels_is_refused():
    with pytest.raises(ImBenchError, match="MSELoss can leave out no pixels"):
        InconsistencyMaskedLoss(nn.MSELoss())


def test_an_unknown_normalisation_is_refused():
    with pytest.raises(ImBenchError, match="known are all, kept"):
        masked(CE, "some")
