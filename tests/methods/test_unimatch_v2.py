from __future__ import annotations

import pytest
import torch
from semi.steps import step_of

from im_bench.methods.unimatch_v2 import UniMatchV2, mirrored_places, mixed_views
from im_bench.semi import channel_dropout
from im_bench.semi.pseudo_label import PseudoLabel
from im_bench.semi.step import Clock, View

from .steps import losses_of


def test_the_teacher_copies_the_student_first_and_then_lags():
    method = UniMatchV2()
    decays = [method.ema_decay(Clock(iteration, 10**6, 10)) for iteration in (0, 1, 9, 10**5)]
    assert decays == [0.0, 0.5, 0.9, 0.996]


def test_the_average_labels_and_is_deployed(build, batch):
    model = build(method={"name": "unimatch-v2", "threshold": 0.0})
    found = []
    for network in (model.student, model.companion):
        torch.nn.init.normal_(network.decode_head.conv_seg.weight)
        found.append(losses_of(model, batch(count=5)))
    before, after = found
    assert before["labelled.loss"] == after["labelled.loss"]
    assert before["strong.loss"] != after["strong.loss"]
    assert model.deployed is model.companion
    assert all(not each.requires_grad for each in model.companion.parameters())


def test_no_teacher_learns_and_every_weight_of_the_student_does(build, batch):
    model = build(method={"name": "unimatch-v2", "threshold": 0.0})
    found = losses_of(model, batch())
    found["strong.loss"].backward()
    assert all(each.grad is not None for each in model.student.parameters())
    assert all(each.grad is None for each in model.companion.parameters())


def test_only_confident_and_consistent_pixels_teach(build, batch):
    assert losses_of(build(method="unimatch-v2"), batch())["strong.loss"] == 0  # 0.95 of 4 classes
    raw = batch(masks=True)
    raw["data_samples"]["unlabelled"]["inconsistent"][:] = True
    model = build(method={"name": "unimatch-v2", "threshold": 0.0})
    assert losses_of(model, raw)["strong.loss"] == 0


def test_losses_are_weighted_as_in_the_original():
    one = torch.ones(())
    assert UniMatchV2().weighted(one, [one, 3 * one]) == {"labelled.loss": 0.5, "strong.loss": 1.0}


def test_partners_are_at_the_mirrored_place_of_the_same_view():
    assert mirrored_places(6, 2, torch.device("cpu")).tolist() == [2, 1, 0, 5, 4, 3]
    assert mirrored_places(2, 2, torch.device("cpu")).tolist() == [0, 1]


def test_boxes_show_the_partner_and_its_label(build):
    """Labels say whose pixel it is: the first view's or the second's, of image 0 or 1."""
    model = build(method="unimatch-v2")
    valid = torch.ones(2, 32, 32, dtype=torch.bool)
    view = View(torch.rand(2, 3, 32, 32), valid)
    own = torch.tensor([0, 1]).view(2, 1, 1)
    label = PseudoLabel(own.expand(2, 32, 32).byte(), torch.ones(2, 32, 32), valid, valid)
    images, (mixed, other) = mixed_views(step_of(model), view, [label, label], 2, 1.0)
    assert images.shape == (4, 3, 32, 32)
    assert torch.equal(mixed.label, other.label)
    pasted = mixed.label != own.repeat(2, 1, 1)
    assert pasted.flatten(1).any(1).all()
    assert not pasted.flatten(1).all(1).any()
    plain, _ = mixed_views(step_of(model), view, [label], 2, 0.0)
    changed = (images != plain).any(1)
    assert torch.equal(changed, pasted)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_channel_goes_to_one_of_the_views(count):
    generator = torch.Generator().manual_seed(0)
    maps = (torch.ones(2 * count, 16, 2, 3), torch.ones(2 * count, 8, 1, 1))
    maps = (*maps, torch.ones(2 * count, 16, 4, 4))
    dropped = channel_dropout.complementary_dropout(maps, generator)
    for before, after in zip(maps, dropped, strict=True):
        assert after.shape == before.shape
        first, second = after.chunk(2)
        assert (first + second).eq(2).all()
        whole = first.eq(1).flatten(1).all(1)
        assert whole.sum() == count // 2
        assert set(first[~whole].unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropped[0][:, :, 0, 0], dropped[2][:, :, 0, 0])  # the same channels


def test_without_dropout_features_stay_as_they_are():
    maps = (torch.rand(6, 4, 2, 2),)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(channel_dropout.complementary_dropout(maps, generator, 1.0)[0], maps[0])
