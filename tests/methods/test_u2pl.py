from __future__ import annotations

import pytest
import torch
from semi.steps import step_of
from torch._subclasses.fake_tensor import FakeTensorMode

from im_bench.data.label_spaces import IGNORED
from im_bench.methods.u2pl import U2PL, Percents, mixed
from im_bench.semi.network import Network
from im_bench.semi.pseudo_label import PseudoLabel
from im_bench.semi.step import Clock

from .steps import keep_everything, losses_of, total

KINDS = ["binary", "multiclass", "multilabel"]
SMALL = {
    "name": "u2pl",
    "features": 8,
    "queries": 16,
    "negatives": 5,
    "capacity": 50,
    "capacity_first": 80,
}


def state_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masks", [False, True])
def test_step_teaches_the_student_and_its_head_only(build, batch, kind, masks):
    model = build(kind, SMALL)
    found = losses_of(model, batch(kind, masks=masks))
    total(found).backward()
    assert min(found[f"{name}.loss"] for name in ("labelled", "unlabelled", "contrastive")) > 0
    learning = [*model.student.parameters(), *model.state["representation"].parameters()]
    assert all(each.grad.isfinite().all() for each in learning)
    assert model.state["representation"].layers[0].weight.grad.any()
    frozen = [*model.companion.parameters(), *model.state["representation_ema"].parameters()]
    assert all(each.grad is None for each in frozen)


@pytest.mark.parametrize("mix", ["cutmix", "cutout", "classmix"])
@pytest.mark.parametrize("negatives_of", ["label", "any"])
def test_variants_of_code_and_paper_train(build, batch, mix, negatives_of):
    fields = {"mix": mix, "negatives_of": negatives_of, "one_hot": "correct"}
    model = build(method={**SMALL, **fields, "align_classes": True, "mix_probability": 1.0})
    found = losses_of(model, batch())
    assert total(found).isfinite()
    assert found["contrastive.loss"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_masks_that_keep_everything_change_nothing(build, batch, kind):
    fields = {"method": SMALL, "im": {"labels": "own"}}
    plain = losses_of(build(kind, **fields), batch(kind))
    masked = losses_of(build(kind, **fields), keep_everything(batch(kind)))
    assert masked.pop("inconsistent") == 0
    assert masked == plain


@pytest.mark.parametrize("negatives_of", ["label", "any"])
def test_inconsistent_pixels_neither_teach_nor_reach_the_memory(build, batch, negatives_of):
    # Without labels, too, the contrastive loss has no pixels at all.
    fields = {"negatives_of": negatives_of, "negative_high_entropy": False}
    model = build(method={**SMALL, **fields})
    raw = batch(masks=True)
    raw["data_samples"]["unlabelled"]["inconsistent"][:] = True
    raw["data_samples"]["labelled"][:] = IGNORED
    found = losses_of(model, raw)
    assert total(found) == 0
    assert not model.state["memory"].length.any()


def test_inconsistent_pixels_do_not_move_the_percentiles(build, batch):
    # Of the pixels that are consistent, a fifth is unreliable.
    model = build(method=SMALL)
    raw = batch(masks=True)
    raw["data_samples"]["unlabelled"]["inconsistent"][:] = False
    raw["data_samples"]["unlabelled"]["inconsistent"][:, :16] = True
    assert losses_of(model, raw)["reliable"] == pytest.approx(0.5 * 0.8, abs=0.01)


def test_teacher_collects_its_own_statistics_and_stays_in_evaluation_mode(build, batch):
    model = build(method=SMALL)
    losses_of(model, batch())
    statistics = model.companion.backbone.stem[-1]
    assert statistics.num_batches_tracked == 1
    assert statistics.running_mean.any()
    averages = (model.companion, model.state["representation_ema"])
    assert not any(layer.training for each in averages for layer in each.modules())
    before = state_of(statistics)
    model.after_step()
    assert all(torch.equal(before[k], state_of(statistics)[k]) for k in before if "run" in k)


def test_teacher_equals_the_student_in_the_first_epoch_and_follows_it_then(build, batch):
    model = build(method=SMALL)
    pairs = [
        (model.companion, model.student),
        (model.state["representation_ema"], model.state["representation"]),
    ]
    optimiser = torch.optim.SGD(model.student.parameters(), 0.1)
    optimiser.add_param_group({"params": model.state["representation"].parameters()})
    for iteration, equal in ((4, True), (5, False)):  # the last of an epoch, the first of the next
        optimiser.zero_grad()
        total(losses_of(model, batch(), iteration)).backward()
        optimiser.step()
        model.after_step()
        for average, module in pairs:
            values = zip(average.parameters(), module.parameters(), strict=True)
            assert all(torch.equal(a, b) for a, b in values) == equal


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [0.0] * 4 + [0.8, 5 / 6, 6 / 7]),
        ({"ema": 0.82}, [0.0] * 4 + [0.8, 0.82, 0.82]),
        ({"copy_first_epoch": False}, [0.0, 1 / 2, 2 / 3, 3 / 4, 4 / 5]),
        # The teacher starts the first epoch with unlabelled images as the student.
        ({"supervised_epochs": 1}, [None] * 3 + [0.0] * 5 + [0.8]),
        ({"supervised_epochs": 1, "copy_first_epoch": False}, [None] * 4 + [0.0, 1 / 2]),
    ],
)
def test_decay_rises_once_the_teacher_is_more_than_a_copy(fields, expected):
    method = U2PL(**fields)
    found = [method.ema_decay(Clock(t, 100, epoch_length=4)) for t in range(len(expected))]
    assert found == pytest.approx(expected)


def test_ever_fewer_pixels_are_unreliable():
    percents = [U2PL().percents(Clock(t, 40, epoch_length=10)) for t in (0, 9, 10, 39)]
    assert percents == [(80, 20, 80), (80, 20, 80), (85, 15, 85), (95, 5, 95)]
    assert U2PL(drop_percent=60).percents(Clock()) == Percents(60, 20, 80)


def test_labelled_epochs_come_first_and_leave_no_parameter_without_gradient(build, batch):
    model = build(method={**SMALL, "supervised_epochs": 1})
    found = losses_of(model, batch(), iteration=4)
    total(found).backward()
    assert set(found) == {"labelled.loss", "contrastive.loss"}
    assert found["contrastive.loss"] == 0
    learning = [*model.student.parameters(), *model.state["representation"].parameters()]
    assert all(each.grad is not None for each in learning)
    assert model.companion.backbone.stem[-1].num_batches_tracked == 1
    assert not model.state["memory"].length.any()
    assert "unlabelled.loss" in losses_of(model, batch(), iteration=5)


def test_memory_has_a_queue_for_each_class_of_each_softmax(build):
    capacities = {kind: build(kind, SMALL).state["memory"].capacity.tolist() for kind in KINDS}
    assert capacities == {
        "binary": [80, 50],
        "multiclass": [80, 50, 50, 50],
        "multilabel": [80, 50] * 3,
    }


def test_checkpoint_continues_where_it_stopped(build, batch):
    model, resumed = (build(method=SMALL) for _ in range(2))
    losses_of(model, batch())
    resumed.load_state_dict(model.state_dict())
    assert resumed.state["memory"].length.any()
    first, second = (losses_of(each, batch(), iteration=6) for each in (model, resumed))
    assert first == second


@pytest.mark.parametrize(("probability", "shares"), [(0.0, {0}), (1.0, {1}), (0.5, {0, 1})])
def test_a_batch_is_mixed_as_a_whole_or_not(build, probability, shares):
    step = step_of(build(method=SMALL))
    shape = (3, 32, 32)
    valid = torch.ones(shape, dtype=torch.bool)
    label = PseudoLabel(torch.zeros(shape).byte(), torch.ones(shape), valid, valid)
    method = U2PL(mix_probability=probability)
    boxes = [method.boxes(step, label).any((1, 2)) for _ in range(20)]
    assert {float(each.float().mean()) for each in boxes} == shares


def test_the_next_image_is_pasted_with_its_label():
    values = torch.arange(3.0).view(3, 1, 1)
    images = values.unsqueeze(1).expand(3, 2, 2, 2).contiguous(memory_format=torch.channels_last)
    on = torch.ones(3, 2, 2, dtype=torch.bool)
    kept = on.clone()
    kept[1] = False
    label = PseudoLabel(values.expand(3, 2, 2).byte(), values.expand(3, 2, 2), on, kept)
    box = torch.zeros_like(on)
    box[:, 0] = True
    made, target = mixed(images, label, box, "cutmix")
    assert made[:, 0, :, 0].tolist() == [[1, 0], [2, 1], [0, 2]]
    assert target.label[:, :, 0].tolist() == [[1, 0], [2, 1], [0, 2]]
    assert target.kept[:, :, 0].tolist() == [[False, True], [True, False], [True, True]]
    assert made.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("ignored", [False, True])
def test_padding_teaches_as_in_the_original_unless_it_is_ignored(build, ignored):
    step = step_of(build("multilabel", SMALL))
    valid = torch.tensor([[[True, False]]])
    label = PseudoLabel(torch.tensor([[[5, 5]]]).byte(), torch.ones(1, 1, 2), valid, valid | True)
    target = U2PL(ignore_padding=ignored).target(step, label)
    padding = [IGNORED] * 3 if ignored else [1, 0, 1]
    assert target[:, 0].tolist() == [
        [bit, pad] for bit, pad in zip([1, 0, 1], padding, strict=True)
    ]


def test_no_part_of_a_step_waits_for_the_device(build, batch):
    # A fake tensor has no values: whatever would need one on the host raises.
    model = build("multilabel", SMALL)
    model.train()
    step = step_of(model)
    step.second = Network(model.companion)
    inputs = model.data_preprocessor(batch("multilabel", masks=True), True)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        step.views = {
            name: type(view)(*(mode.from_tensor(each) for each in view))
            for name, view in inputs["inputs"].items()
            if name == "unlabelled"
        }
        step.labelled = mode.from_tensor(inputs["inputs"]["labelled"])
        step.labels = mode.from_tensor(inputs["data_samples"])
        losses = model.method.losses(step)
    assert all(each.shape == () for each in losses.values())


def test_the_loss_does_not_grow_with_the_masks(build, batch):
    method = {"name": "u2pl", "features": 8, "capacity": 64, "capacity_first": 64, "queries": 8}
    found = []
    for share in (0.0, 0.9):
        raw = batch(masks=True)
        masks = raw["data_samples"]["unlabelled"]["inconsistent"]
        drawn = torch.rand(masks.shape, generator=torch.Generator().manual_seed(0))
        raw["data_samples"]["unlabelled"]["inconsistent"] = drawn < share
        found.append(losses_of(build(method=method, im={"labels": "own"}), raw)["unlabelled.loss"])
    assert 0.5 < found[1] / found[0] < 2
