from __future__ import annotations

import pytest
import torch

from im_bench.errors import ImBenchError
from im_bench.methods.fpl import mixed_view
from im_bench.semi.step import Clock, View
from im_bench.training.semi_supervised import online_method

from .steps import keep_everything, losses_of, total

KINDS = ["binary", "multiclass", "multilabel"]


def favour(network, category: int) -> None:
    """Make a network predict one class everywhere."""
    with torch.no_grad():
        network.decode_head.conv_seg.bias[category] += 20


def pulls(loss: torch.Tensor, network) -> list[bool]:
    """Return which classes a loss makes more probable."""
    bias = network.decode_head.conv_seg.bias
    (gradient,) = torch.autograd.grad(loss, bias, retain_graph=True)
    return (gradient < 0).tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masks", [False, True])
def test_step_gives_finite_losses_and_gradients(build, batch, kind, masks):
    model = build(kind, "fpl")
    found = losses_of(model, batch(kind, masks=masks))
    total(found).backward()
    assert total(found).isfinite()
    assert all(found[name] > 0 for name in found if "loss" in name)
    for network in (model.student, model.companion):
        assert all(each.grad.isfinite().all() for each in network.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_masks_that_keep_everything_change_nothing(build, batch, kind):
    model = build(kind, "fpl", im={"labels": "own"})
    plain = losses_of(model, batch(kind))
    masked = losses_of(model, keep_everything(batch(kind)))
    assert masked.pop("inconsistent") == 0
    assert masked == plain


def test_inconsistent_pixels_teach_nothing(build, batch):
    raw = batch(masks=True)
    for branch in ("unlabelled", "partner"):
        raw["data_samples"][branch]["inconsistent"][:] = True
    found = losses_of(build(method="fpl"), raw)
    assert found["unlabelled.loss"] == 0
    assert min(found["labelled.loss"], found["twin.labelled.loss"]) > 0


def test_padding_teaches_unless_it_is_ignored(build, batch):
    raw = batch()
    for branch in ("unlabelled", "partner"):
        raw["data_samples"][branch]["valid"][:] = False
    assert losses_of(build(method="fpl"), raw)["unlabelled.loss"] > 0
    ignoring = build(method={"name": "fpl", "ignore_padding": True})
    assert losses_of(ignoring, raw)["unlabelled.loss"] == 0


def test_each_network_learns_from_the_other(build, batch):
    model = build(method="fpl")
    favour(model.student, 1)
    favour(model.companion, 2)
    loss = losses_of(model, batch())["unlabelled.loss"]
    assert pulls(loss, model.student) == [False, False, True, False]
    assert pulls(loss, model.companion) == [False, True, False, False]


@pytest.mark.parametrize(("labels", "taught"), [("consensus", 3), ("own", 1)])
def test_consensus_is_taught_where_masks_say_so(build, batch, labels, taught):
    model = build(method="fpl", im={"labels": labels})
    for network in (model.student, model.companion):
        favour(network, 1)
    raw = keep_everything(batch())
    for branch in ("unlabelled", "partner"):
        raw["data_samples"][branch]["consensus"][:] = 3
    loss = losses_of(model, raw)["unlabelled.loss"]
    assert pulls(loss, model.student).index(True) == taught


def test_networks_start_apart(build):
    model = build(method="fpl")
    heads = [each.decode_head.conv_seg.weight for each in (model.student, model.companion)]
    assert not torch.equal(*heads)
    assert model.deployed is model.student


def test_batchnorm_sees_every_batch_alone(build, batch):
    """Two passes for pseudo-labels, one on mixed and one on labelled images."""
    model = build(method="fpl")
    model.clock = Clock(0, 10, 5)
    model.train()
    model(**model.data_preprocessor(batch(), True), mode="loss")
    for network in (model.student, model.companion):
        passes = [v for name, v in network.named_buffers() if name.endswith("batches_tracked")]
        assert {each.item() for each in passes} == {4}


@pytest.mark.parametrize("masks", [False, True])
def test_a_mixed_view_takes_everything_from_the_same_image(masks):
    def constant(value: int) -> View:
        flat = torch.full((2, 4, 4), value)
        maps = (flat.byte(), flat.bool()) if masks else ()
        return View(flat.unsqueeze(1).float(), flat.bool(), *maps)

    box = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    made = mixed_view(constant(0), constant(1), box)
    assert made.valid.equal(box)
    assert made.images[:, 0].bool().equal(box)
    if masks:
        assert made.consensus.bool().equal(box)
        assert made.inconsistent.equal(box)
    else:
        assert made.consensus is made.inconsistent is None


@pytest.mark.parametrize("fields", [{"max_positives": 0}, {"weighting": "flat"}, {"threshold": 2}])
def test_wrong_fields_are_named(fields):
    with pytest.raises(ImBenchError, match=f"method 'fpl', field '{next(iter(fields))}'"):
        online_method({"name": "fpl", **fields})
