from __future__ import annotations

import pytest
import torch

from im_bench.errors import ImBenchError
from im_bench.methods.fixmatch import FixMatch
from im_bench.semi.step import Clock, View
from im_bench.training.semi_supervised import online_method

from .steps import step_of


def losses(model, raw, iteration=0):
    """Return the losses of a step, with the random draws of an iteration."""
    torch.manual_seed(iteration)
    model.clock = Clock(iteration, 10, 5)
    model.train()
    data = model.data_preprocessor(raw, True)
    return model(**data, mode="loss")


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("masks", [False, True])
def test_step_gives_finite_losses_and_gradients(build, batch, kind, masks):
    model = build(kind, {"name": "fixmatch", "threshold": 0.0})
    found = losses(model, batch(kind, masks=masks))
    total = sum(value for name, value in found.items() if "loss" in name)
    total.backward()
    assert total.isfinite()
    assert all(each.grad is not None for each in model.student.parameters())
    assert ("inconsistent" in found) == masks


def test_masks_that_keep_everything_change_nothing(build, batch):
    model = build(method={"name": "fixmatch", "threshold": 0.5}, im={"labels": "own"})
    raw = batch()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    plain = losses(model, raw)
    model.load_state_dict(state)  # a step moves BatchNorm's statistics
    for branch in ("unlabelled", "partner"):
        shape = raw["inputs"][branch].shape[:3]
        raw["data_samples"][branch] |= {
            "consensus": torch.zeros(shape, dtype=torch.uint8),
            "inconsistent": torch.zeros(shape, dtype=torch.bool),
        }
    masked = losses(model, raw)
    assert masked.pop("inconsistent") == 0
    assert {k: v.item() for k, v in masked.items()} == {k: v.item() for k, v in plain.items()}


def test_inconsistent_pixels_teach_nothing_and_are_black(build, batch):
    model = build(method={"name": "fixmatch", "threshold": 0.0, "cutmix": 0.0})
    raw = batch(masks=True)
    raw["data_samples"]["unlabelled"]["inconsistent"][:] = True
    assert losses(model, raw)["unlabelled.loss"] == 0
    step_view = View(
        torch.ones(1, 3, 2, 2),
        torch.ones(1, 2, 2, dtype=torch.bool),
        torch.zeros(1, 2, 2, dtype=torch.uint8),
        torch.tensor([[[True, False], [False, False]]]),
    )
    blanked = step_of(model).blank(step_view.images, step_view)
    assert blanked.sum() == 9


def test_a_source_of_masks_is_asked_on_the_weak_view(build, batch):
    class Everywhere:
        asked = 0

        def mask(self, images, normalised):
            self.asked += 1
            assert images.shape == normalised.shape
            shape = (len(images), *images.shape[-2:])
            return torch.zeros(shape, dtype=torch.uint8), torch.ones(shape, dtype=torch.bool)

    model = build(method={"name": "fixmatch", "threshold": 0.0})
    model.masking = Everywhere()
    found = losses(model, batch())
    assert model.masking.asked == 2  # the view and its partner
    assert found["unlabelled.loss"] == 0
    assert found["inconsistent"] == 1


def test_the_same_iteration_draws_the_same_and_another_does_not(build, batch):
    model = build(method={"name": "fixmatch", "threshold": 0.0})
    state = {name: value.clone() for name, value in model.state_dict().items()}
    values = []
    for iteration in (3, 3, 4):
        model.load_state_dict(state)
        values.append(losses(model, batch(), iteration)["unlabelled.loss"].item())
    assert values[0] == values[1] != values[2]


def test_supervised_needs_no_unlabelled_images_but_others_do(build, batch):
    raw = batch()
    del raw["inputs"]["unlabelled"], raw["inputs"]["partner"]
    assert "unlabelled.loss" not in losses(build(method="supervised"), raw)
    with pytest.raises(ImBenchError, match="no 'unlabelled' images"):
        losses(build(method="fixmatch"), raw)


def test_supervised_with_masks_learns_the_consensus(build, batch):
    found = losses(build(method="supervised"), batch(masks=True))
    assert found["unlabelled.loss"] > 0


def test_prediction_is_that_of_the_deployed_network(build):
    model = build().eval()
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        predicted = model(images, None, mode="predict")[0].pred_sem_seg.data
        expected = model.student.predict(images)[0].pred_sem_seg.data
    assert torch.equal(predicted, expected)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "fixmach"}, "did you mean 'fixmatch'"),
        ({"name": "ldt"}, "'ldt' does not train with unlabelled images"),
        ({"name": "fixmatch", "thresold": 1}, "field of the method .*did you mean 'threshold'"),
        ({"name": "fixmatch", "threshold": 2}, "field 'threshold': .*less than or equal to 1"),
    ],
)
def test_wrong_methods_are_refused(config, message):
    with pytest.raises(ImBenchError, match=message):
        online_method(config)


@pytest.mark.parametrize(
    ("im", "message"),
    [
        ({"labels": "owns"}, "'im', field 'labels': Input should be 'consensus' or 'own'"),
        ({"block_inptu": False}, "field of the model's 'im' .*did you mean 'block_input'"),
    ],
)
def test_wrong_maskings_are_refused(build, im, message):
    with pytest.raises(ImBenchError, match=message):
        build(im=im)


def test_fields_reach_the_method():
    method = online_method({"name": "fixmatch", "threshold": 0.5})
    assert isinstance(method, FixMatch)
    assert method.threshold == 0.5


def test_teachers_disagree_about_no_padding(build, batch):
    class Everywhere:
        def mask(self, images, normalised):
            shape = (len(images), *images.shape[-2:])
            return torch.zeros(shape, dtype=torch.uint8), torch.ones(shape, dtype=torch.bool)

    model = build(method="fixmatch")
    model.masking = Everywhere()
    view = model.data_preprocessor(batch(), True)["inputs"]["unlabelled"]
    valid = torch.zeros_like(view.valid)
    valid[:, :16] = True
    assert torch.equal(model._masked(view._replace(valid=valid)).inconsistent, valid)


@pytest.mark.parametrize("name", ["fixmatch", "crossmatch", "fpl"])
def test_weights_learn_though_an_autocast_caches_them_without_gradient(build, batch, name):
    model = build(method=name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses(model, batch())
        assert torch.is_autocast_cache_enabled()
    sum(value for key, value in found.items() if "loss" in key).backward()
    assert all(each.grad is not None for each in model.student.parameters())


def test_a_step_keeps_no_casts_of_weights(build, batch):
    enabled = []
    model = build()
    encode = model.student.backbone.encode

    def watched(images):
        enabled.append(torch.is_autocast_cache_enabled())
        return encode(images)

    model.student.backbone.encode = watched
    losses(model, batch())
    assert enabled == [False] * 3


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_hard_examples_are_for_multi_class_labels(build, kind):
    with pytest.raises(ImBenchError, match=f"not {kind} ones: remove the labelled loss"):
        build(kind, labelled_loss={"type": "OhemCrossEntropyLoss"})
