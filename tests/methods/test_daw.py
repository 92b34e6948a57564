from __future__ import annotations

import pytest
import torch

from im_bench.methods.daw import DAW
from im_bench.methods.unimatch import UniMatch
from im_bench.semi.step import Clock

from .steps import keep_everything, losses_of, total

KINDS = ["binary", "multiclass", "multilabel"]
STILL = {"name": "daw", "momentum": 1.0}  # the statistics do not move, and so the threshold


def statistics(model) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in model.state.state_dict().items()}


@pytest.mark.parametrize("kind", KINDS)
def test_without_statistics_it_is_unimatch(build, batch, kind):
    """At first all classes have the same average, so that alignment changes nothing either."""
    found = losses_of(build(kind, {**STILL, "threshold": 0.6}), batch(kind))
    expected = losses_of(build(kind, {"name": "unimatch", "threshold": 0.6}), batch(kind))
    assert found.pop("threshold") == torch.tensor(0.6)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_the_threshold_of_a_step_is_that_after_its_labelled_images(build, batch):
    model = build(method="daw")
    found = losses_of(model, batch())
    assert found["threshold"] == model.state["crossing"].value
    assert found["threshold"] != 0.95  # the Gaussians crossed


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_have_a_place_for_each_class(build, kind):
    state = build(kind, "daw").state
    shape = {"binary": (1, 2), "multiclass": (1, 4), "multilabel": (3, 2)}[kind]
    assert state["alignment"].labelled.shape == state["alignment"].unlabelled.shape == shape
    labels = {"binary": 2, "multiclass": 4, "multilabel": 8}[kind]
    assert state["crossing"].lowest == 1 / labels


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_goes_on_from_a_checkpoint_as_if_nothing_had_been(build, batch, kind):
    fields = {"name": "daw", "momentum": 0.9}
    model, other = build(kind, fields), build(kind, fields)
    losses_of(model, batch(kind), iteration=0)
    model.after_step()
    other.load_state_dict(model.state_dict())
    second, again = (losses_of(each, batch(kind), iteration=1) for each in (model, other))
    assert second == again
    assert all(torch.equal(a, b) for a, b in zip(*map(_values, (model, other)), strict=True))


def _values(model) -> list[torch.Tensor]:
    return list(statistics(model).values())


def test_aligned_probabilities_make_the_labels(build, batch):
    """With all of the confidence on class 1, everything is labelled so."""
    model = build(method={**STILL, "threshold": 0.0})
    model.state["alignment"].labelled.copy_(torch.tensor([[1e-6, 1.0, 1e-6, 1e-6]]))
    seen = []

    class Watching(DAW):
        def targets(self, step, *logits):
            seen.append(super().targets(step, *logits))
            return seen[-1]

    for align, only in ((True, True), (False, False)):
        model.method = Watching(momentum=1.0, align=align)
        losses_of(model, batch())
        assert bool((seen[-1].label.label == 1).all()) is only
        assert bool((seen[-1].partner.label == 1).all()) is only


@pytest.mark.parametrize("own", [True, False])
def test_filtered_pixels_are_kept_out_of_the_unlabelled_averages(build, batch, own):
    """Whatever is predicted there; and the labelled averages and the threshold stay the same."""
    fields = {"im": {"labels": "own", "block_output": own, "block_input": False}}
    plain, masked = (build(method="daw", **fields) for _ in range(2))
    losses_of(plain, keep_everything(batch(masks=True)))
    losses_of(masked, batch(masks=True))
    mine, theirs = statistics(masked), statistics(plain)
    assert torch.equal(mine["alignment.labelled"], theirs["alignment.labelled"])
    assert torch.equal(mine["crossing.value"], theirs["crossing.value"])
    same = torch.equal(mine["alignment.unlabelled"], theirs["alignment.unlabelled"])
    assert same is not own


def test_where_everything_is_filtered_the_unlabelled_averages_stay(build, batch):
    model = build(method="daw")
    before = statistics(model)["alignment.unlabelled"]
    raw = batch(masks=True)
    for branch in ("unlabelled", "partner"):
        raw["data_samples"][branch]["inconsistent"][:] = True
    losses_of(model, raw)
    assert torch.equal(model.state["alignment"].unlabelled, before)


def test_ignored_labels_and_padding_do_not_count(build, batch):
    model = build(method="daw")
    before = statistics(model)
    raw = batch()
    raw["data_samples"]["labelled"][:] = 255
    for branch in ("unlabelled", "partner"):
        raw["data_samples"][branch]["valid"][:] = False
    losses_of(model, raw)
    after = statistics(model)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_statistics_carry_no_gradient(build, batch):
    model = build(method="daw")
    total(losses_of(model, batch())).backward()
    assert not any(each.requires_grad for each in statistics(model).values())


def test_the_average_is_tested_and_makes_no_labels(build, batch):
    model = build(method="daw")
    assert model.deployed is model.companion
    first = losses_of(model, batch())
    other = build(method="daw")
    for each in other.companion.parameters():
        each.data.zero_()
    assert losses_of(other, batch()) == first


def test_the_average_starts_as_a_copy_and_slows_down():
    decays = [DAW().ema_decay(Clock(iteration)) for iteration in (0, 1, 9, 999, 10**6)]
    assert decays == [0, 0.5, 0.9, 0.999, 0.999]


def test_shares_the_fields_of_unimatch():
    assert DAW.model_fields.keys() > UniMatch.model_fields.keys()
    assert DAW.search.keys() <= DAW.model_fields.keys()
    assert "threshold" not in DAW.search
