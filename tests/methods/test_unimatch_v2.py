from __future__ import annotations

import pytest
import torch

from im_bench.methods.unimatch_v2 import UniMatchV2, mirrored_places
from im_bench.semi import channel_dropout
from im_bench.semi.step import Clock

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


def test_boxes_show_the_partner_and_its_label(build, batch):
    """With a whole other image in the box, and labels that say whose pixel it is."""
    seen = []

    class Watching(UniMatchV2):
        def strong_views(self, step, weak, label):
            label = label._replace(label=torch.arange(2).repeat(2).view(4, 1, 1).expand(4, 32, 32))
            seen.append(super().strong_views(step, weak, label))
            return seen[-1][0], seen[-1][1]._replace(label=seen[-1][1].label.byte())

    model = build(method="unimatch-v2")
    model.method = Watching(cutmix=1.0)
    losses_of(model, batch())
    ((_, mixed),) = seen
    own = torch.tensor([0, 1, 0, 1]).view(4, 1, 1)
    pasted = mixed.label != own
    assert pasted.flatten(1).any(1).all()
    assert not pasted.flatten(1).all(1).any()


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
