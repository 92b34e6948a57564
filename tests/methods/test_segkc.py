from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from im_bench.errors import ImBenchError
from im_bench.schedules.registry import schedule_class
from im_bench.semi.consultation import Projection, divergence, feature_loss

from .steps import losses_of, total

KINDS = ["binary", "multiclass", "multilabel"]
OUTPUTS = {"binary": 1, "multiclass": 4, "multilabel": 3}
RESNET = {"type": "ResNetV1c", "depth": 18, "base_channels": 4, "stem_channels": 4}
HEAD = {"type": "FCNHead", "in_channels": 32, "in_index": 3, "channels": 4, "num_convs": 1}


def twin(kind: str = "multiclass") -> dict[str, Any]:
    return {
        "type": "LabelSpaceSegmentor",
        "backbone": RESNET,
        "decode_head": HEAD,
        "label_space": {"kind": kind, "outputs": OUTPUTS[kind]},
    }


@pytest.fixture
def heterogeneous(build):
    """A U-Net as the junior of a ResNet."""

    def make(kind: str = "multiclass", **fields: Any) -> Any:
        method = {"name": "segkc", "threshold": 0.0, **fields}
        return build(kind, method, twin=twin(kind))

    return make


def grads(module) -> list[bool]:
    """Return which parameters a loss has reached."""
    return [
        each.grad is not None and bool(each.grad.abs().sum() > 0) for each in module.parameters()
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masks", [False, True])
def test_networks_of_two_architectures_learn_together(heterogeneous, batch, kind, masks):
    model = heterogeneous(kind, levels=3, views=2)
    found = losses_of(model, batch(kind, count=4, masks=masks))
    assert all(value.isfinite() and value > 0 for key, value in found.items() if "loss" in key)
    total(found).backward()
    for module in (model.student, model.companion, model.state):
        assert all(each.grad.isfinite().all() for each in module.parameters())


@pytest.mark.parametrize("loss", ["feature.loss", "prediction.loss"])
def test_consultation_teaches_both_networks(heterogeneous, batch, loss):
    model = heterogeneous()
    losses_of(model, batch(count=4))[loss].backward()
    assert any(grads(model.student.backbone))
    assert any(grads(model.companion.backbone))
    assert all(grads(model.state)) == (loss == "feature.loss")


@pytest.mark.parametrize(
    ("loss", "learns", "teaches"),
    [("strong.loss", "student", "companion"), ("twin.strong.loss", "companion", "student")],
)
def test_each_network_is_taught_by_the_others_labels(heterogeneous, batch, loss, learns, teaches):
    model = heterogeneous()
    raw = batch(count=4)
    before = losses_of(model, raw)[loss]
    before.backward()
    assert any(grads(getattr(model, learns)))
    assert not any(grads(getattr(model, teaches)))
    with torch.no_grad():
        getattr(model, teaches).decode_head.conv_seg.bias[1] += 50
    assert losses_of(model, raw)[loss] != before


def test_who_is_consulted_does_not_follow():
    projection = Projection([2], [3])
    mine, theirs = (
        torch.rand(1, 2, 4, 4, requires_grad=True),
        torch.rand(1, 3, 8, 8).requires_grad_(),
    )
    everywhere = torch.ones(1, 16, 16, dtype=torch.bool)
    feature_loss(projection([mine], [theirs]), everywhere, everywhere, "cosine").backward()
    assert mine.grad is not None
    assert theirs.grad is None
    one, other = (torch.rand(1, 3, 2, 2).requires_grad_() for _ in range(2))
    divergence(one, other, 1.0).sum().backward()
    assert one.grad is not None
    assert other.grad is None


@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_equal_features_are_no_distance_apart_and_masked_ones_do_not_count(distance):
    maps = torch.rand(1, 3, 4, 4)
    valid = torch.ones(1, 8, 8, dtype=torch.bool)
    assert feature_loss([(maps, maps)], valid, valid, distance).abs() < 1e-6
    kept = valid.clone()
    kept[:, :4] = False
    half = feature_loss([(maps, -maps)], kept, valid, distance)
    whole = feature_loss([(maps, -maps)], valid, valid, distance)
    assert 0 < half < whole
    assert feature_loss([(maps, -maps)], ~valid, valid, distance) == 0
    assert feature_loss([(maps, -maps)], ~valid, ~valid, distance) == 0


def test_divergence_is_that_of_kullback_and_leibler():
    one, other = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    p, q = (other / 2).softmax(1), (one / 2).softmax(1)
    expected = 4 * (p * (p / q).log()).sum(1)
    torch.testing.assert_close(divergence(one, other, 2.0), expected, rtol=1e-4, atol=1e-6)
    assert divergence(one, one, 1.0).abs().max() < 1e-6


def test_projections_are_kept_in_checkpoints(heterogeneous):
    state = heterogeneous().state_dict()
    assert state["state.junior_projection.projections.0.0.weight"].shape == (32, 32, 1, 1)
    assert state["state.senior_projection.projections.0.0.weight"].shape == (32, 32, 1, 1)
    deep = heterogeneous(levels=9, projection_layers=2).state_dict()
    widths = [4, 8, 16, 32]  # of the ResNet, which has fewer maps than the U-Net
    for level, width in enumerate(widths):
        name = f"state.junior_projection.projections.{level}.2.weight"
        assert deep[name].shape == (width, width, 1, 1)


def test_the_consulted_network_follows_if_asked_to(heterogeneous, batch):
    gradients = {}
    for follows in (False, True):
        model = heterogeneous(consulted_follows=follows)
        losses_of(model, batch(count=4))["prediction.loss"].backward()
        gradients[follows] = model.student.decode_head.conv_seg.weight.grad
    assert not torch.equal(gradients[False], gradients[True])


def test_labelled_images_and_confident_pixels_are_consulted_on_if_asked_to(heterogeneous, batch):
    raw = batch(count=4)
    plain = losses_of(heterogeneous(), raw)
    both = losses_of(heterogeneous(consult_labelled=True), raw)
    assert both["labelled.loss"] == plain["labelled.loss"]
    for name in ("feature.loss", "prediction.loss"):
        assert both[name] > plain[name]
    fields = {"threshold": 1.0, "prediction_pixels": "confident"}
    nobody = losses_of(heterogeneous(**fields), raw)
    assert nobody["prediction.loss"] == 0
    assert nobody["feature.loss"] == plain["feature.loss"]


def test_labels_may_come_from_training_mode(heterogeneous, batch):
    raw = batch(count=4)
    modes = {
        mode: losses_of(heterogeneous(labelling=mode), raw)["strong.loss"]
        for mode in ("evaluation", "training")
    }
    assert modes["evaluation"] != modes["training"]


def test_the_junior_is_deployed(heterogeneous):
    model = heterogeneous()
    assert model.deployed is model.student
    assert type(model.deployed.backbone).__name__ == "UNet1x1"


def test_a_twin_needs_a_method_that_trains_one(build):
    with pytest.raises(ImBenchError, match="'fixmatch' trains none"):
        build(method="fixmatch", twin=twin())
    network = {"backbone": RESNET, "decode_head": HEAD}
    with pytest.raises(ValidationError, match="FixMatch trains no second network"):
        schedule_class("fixmatch")(twin=network)
    fpl, segkc = (schedule_class(name)(twin=network) for name in ("fpl", "segkc"))
    assert fpl.twin == segkc.twin


def test_a_twin_of_other_classes_is_refused(build):
    with pytest.raises(ImBenchError, match="has 1 outputs, the model's label_space 4"):
        build(method="segkc", twin=twin("binary"))
