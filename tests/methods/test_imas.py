from __future__ import annotations

import pytest
import torch
from semi.steps import step_of

from im_bench.data.label_spaces import MulticlassSpace
from im_bench.errors import ImBenchError
from im_bench.methods.imas import IMAS, combined, unlabelled_loss
from im_bench.semi import random_ops
from im_bench.semi.pseudo_label import PseudoLabel
from im_bench.semi.step import Clock, View
from im_bench.training.semi_supervised import online_method

from .steps import keep_everything, losses_of, total

KINDS = ["binary", "multiclass", "multilabel"]
TEACHING = {"name": "imas", "threshold": 0.0, "ignore_background": False}


def view(count: int = 2, size: int = 32) -> View:
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(count, 3, size, size, generator=generator)
    return View(images, torch.ones(count, size, size, dtype=torch.bool))


def labels(values: torch.Tensor, confidence: float = 1.0) -> PseudoLabel:
    everywhere = torch.ones_like(values, dtype=torch.bool)
    return PseudoLabel(values, torch.full(values.shape, confidence), everywhere, everywhere)


def unequal(model):
    """Let the teacher differ from the student."""
    with torch.no_grad():
        model.companion.decode_head.conv_seg.weight[:, 0] *= -1
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masks", [False, True])
def test_step_gives_finite_losses_and_gradients(build, batch, kind, masks):
    model = build(kind, TEACHING)
    found = losses_of(model, batch(kind, masks=masks))
    total(found).backward()
    assert total(found).isfinite()
    assert found["unlabelled.loss"] > 0
    assert 0 < found["hardness"] <= 1
    assert all(each.grad.isfinite().all() for each in model.student.parameters())
    assert all(each.grad is None for each in model.companion.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_masks_that_keep_everything_change_nothing(build, batch, kind):
    plain = losses_of(build(kind, TEACHING), batch(kind))
    model = build(kind, TEACHING, im={"labels": "own"})
    masked = losses_of(model, keep_everything(batch(kind)))
    assert masked.pop("inconsistent") == 0
    assert masked == plain


def test_inconsistent_pixels_teach_nothing_and_leave_the_hardness(build, batch):
    plain = losses_of(unequal(build(method=TEACHING)), batch())
    raw = keep_everything(batch())
    raw["data_samples"]["unlabelled"]["inconsistent"][:] = True
    masked = losses_of(unequal(build(method=TEACHING)), raw)
    assert masked["unlabelled.loss"] == 0
    assert masked["hardness"] == plain["hardness"]
    assert 0 < plain["hardness"] < 1


def test_padding_teaches_unless_it_is_ignored(build, batch):
    raw = batch()
    raw["data_samples"]["unlabelled"]["valid"][:] = False
    assert losses_of(build(method=TEACHING), raw)["unlabelled.loss"] > 0
    ignoring = build(method={**TEACHING, "ignore_padding": True})
    assert losses_of(ignoring, raw)["unlabelled.loss"] == 0


def test_the_teacher_is_deployed_and_sees_no_batch(build, batch):
    model = build(method=TEACHING)
    assert model.deployed is model.companion
    before = {name: value.clone() for name, value in model.companion.state_dict().items()}
    model.clock = Clock(0, 10, 5)
    model.train()
    model(**model.data_preprocessor(batch(), True), mode="loss")
    assert all(value.equal(before[name]) for name, value in model.companion.state_dict().items())
    passes = [v for name, v in model.student.named_buffers() if name.endswith("batches_tracked")]
    assert {each.item() for each in passes} == {1}


def test_supervised_epochs_see_labelled_images_only(build, batch):
    model = build(method={**TEACHING, "supervised_epochs": 1})
    assert set(losses_of(model, batch(), iteration=4)) == {"labelled.loss"}
    assert "unlabelled.loss" in losses_of(model, batch(), iteration=5)


@pytest.mark.parametrize(
    ("fields", "decays"),
    [
        ({}, [0, 0, 0, 3 / 4, 4 / 5]),
        ({"copy_first_epoch": False}, [0, 1 / 2, 2 / 3, 3 / 4, 4 / 5]),
        ({"supervised_epochs": 1, "copy_first_epoch": False}, [0, 0, 0, 0, 1 / 2]),
        ({"ema": 0.7}, [0, 0, 0, 0.7, 0.7]),
    ],
)
def test_teacher_first_equals_the_student_and_then_averages(fields, decays):
    method = IMAS(**fields)
    found = [method.ema_decay(Clock(i, 30, epoch_length=3)) for i in range(5)]
    assert found == pytest.approx(decays)


@pytest.mark.parametrize("blend", ["mix", "choose", "strong"])
def test_hardness_is_the_share_of_the_strong_view(build, blend):
    model = build(method={"name": "imas", "blend": blend})
    step = step_of(model, {"unlabelled": view()})
    strong = random_ops.random_ops(
        step.unlabelled.images, torch.Generator().manual_seed(0), model.method.operations
    )
    made = model.method.strong_view(step, torch.tensor([0.0, 1.0]))
    assert made[1].equal(strong[1])
    assert made[0].equal(strong[0] if blend == "strong" else step.unlabelled.images[0])


@pytest.mark.parametrize("partner", ["hardness", "random"])
def test_cutmix_moves_images_with_their_labels(build, partner):
    """Each image is filled with its number, which is its label as well."""
    model = build(method={"name": "imas", "cutmix_partner": partner})
    numbers = torch.arange(4).view(-1, 1, 1).expand(-1, 32, 32)
    own = view(4)._replace(images=numbers.unsqueeze(1).expand(-1, 3, -1, -1) / 4)
    step = step_of(model, {"unlabelled": own})
    ease = torch.tensor([0.3, 0.1, 0.9, 0.6])
    images, mixed = model.method.cutmix_view(step, labels(numbers.byte()), ease)
    assert (images[:, 0] * 4).equal(mixed.label.float())
    others = [set(each.unique().tolist()) for each in mixed.label]
    if partner == "hardness":
        assert others == [{0, 3}, {1, 2}, {1, 2}, {0, 3}]


def test_cutmix_is_drawn_as_often_as_images_are_easy(build):
    model = build(method="imas")
    step = step_of(model, {"unlabelled": view()})
    for ease in (0.0, 0.25, 1.0):
        drawn = [model.method.draw_cutmix(step, torch.full((2,), ease)) for _ in range(400)]
        assert sum(drawn) / 400 == pytest.approx(ease, abs=0.1 if 0 < ease < 1 else 0)


def test_cutmix_that_is_not_drawn_changes_batchnorm_only(build, batch):
    """The original skips its forward pass."""
    never = {**TEACHING, "cutmix": 1e-9}
    without = losses_of(build(method={**TEACHING, "cutmix": 0}), batch())
    assert losses_of(build(method={**never, "skip_undrawn": True}), batch()) == without
    passed = losses_of(build(method=never), batch())
    assert passed["hardness"] == without["hardness"]
    assert passed["labelled.loss"] != without["labelled.loss"]


def test_a_view_that_does_not_count_has_no_gradient():
    views = torch.tensor([1.0, 3.0], requires_grad=True)
    for drawn, both, value, gradient in (
        (False, True, 1, [1, 0]),
        (True, True, 2, [0.5, 0.5]),
        (True, False, 3, [0, 1]),
    ):
        loss = combined(*views, torch.tensor(drawn), both)
        assert loss == value
        assert torch.autograd.grad(loss, views)[0].tolist() == gradient


def test_loss_counts_all_pixels_and_weighs_images():
    logits = torch.zeros(2, 4, 1, 2)
    label = labels(torch.zeros(2, 1, 2, dtype=torch.uint8), 0.8)
    label.confidence[:, :, 1] = 0.5
    half = torch.tensor(4).log() / 2
    loss = unlabelled_loss(MulticlassSpace(4), logits, label, 0.7)
    torch.testing.assert_close(loss, half)
    weight = torch.tensor([1.0, 0.5])
    weighted = unlabelled_loss(MulticlassSpace(4), logits, label, 0.7, weight)
    torch.testing.assert_close(weighted, 0.75 * half)


@pytest.mark.parametrize("fields", [{"cutmix": "often"}, {"cutmix": 2}, {"cutmix_side": [0.1, 9]}])
def test_wrong_fields_are_named(fields):
    with pytest.raises(ImBenchError, match=f"method 'imas', field '{next(iter(fields))}"):
        online_method({"name": "imas", **fields})
