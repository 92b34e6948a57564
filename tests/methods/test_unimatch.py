from __future__ import annotations

import torch
import torch.nn.functional as F

from im_bench.methods.fixmatch import FixMatch
from im_bench.methods.unimatch import UniMatch, halves, twice
from im_bench.semi.network import Network
from im_bench.semi.pseudo_label import PseudoLabel
from im_bench.semi.step import View

from .steps import losses_of


def test_inconsistent_pixels_teach_nothing(build, batch):
    model = build(method={"name": "unimatch", "threshold": 0.0, "cutmix": 0.0})
    raw = batch(masks=True)
    raw["data_samples"]["unlabelled"]["inconsistent"][:] = True
    found = losses_of(model, raw)
    assert found["strong.loss"] == 0
    assert found["feature.loss"] == 0
    assert found["labelled.loss"] > 0


def test_only_confident_pixels_teach(build, batch):
    found = losses_of(build(method={"name": "unimatch", "threshold": 1.0}), batch())
    assert found["confident"] == 0
    assert found["strong.loss"] == 0
    assert found["feature.loss"] == 0


def test_partners_teach_strong_views_and_nothing_else(build, batch):
    fields = {"name": "unimatch", "threshold": 0.0, "cutmix": 1.0}
    found = {}
    for valid in (True, False):
        raw = batch()
        raw["data_samples"]["partner"]["valid"][:] = valid
        found[valid] = losses_of(build(method=fields), raw)
    assert found[True]["strong.loss"] != found[False]["strong.loss"]
    assert found[True]["feature.loss"] == found[False]["feature.loss"]
    assert found[True]["labelled.loss"] == found[False]["labelled.loss"]


def test_without_perturbation_the_perturbed_stream_is_the_clean_one(build, batch):
    """BatchNorm then sees every image twice, which leaves its statistics as they are."""
    method = {"name": "unimatch", "threshold": 0.0, "feature_drop": 0.0}
    model = build(method=method).train()
    step_inputs = model.data_preprocessor(batch(), True)["inputs"]
    images = torch.cat(
        [
            step_inputs["labelled"],
            model.data_preprocessor.normalise(step_inputs["unlabelled"].images),
        ]
    )
    clean = Network(model.student)(images)[2:].detach()
    expected = F.cross_entropy(clean, clean.argmax(1))
    found = losses_of(model, batch())["feature.loss"]
    torch.testing.assert_close(found.detach(), 0.25 * expected, rtol=1e-3, atol=1e-5)


def test_the_four_losses_are_weighted_and_halved():
    one = torch.ones(())
    summed = UniMatch().weighted(one, [one, 2 * one], 3 * one)
    assert {name: value.item() for name, value in summed.items()} == {
        "labelled.loss": 0.5,
        "strong.loss": 0.5 * 0.25 * 3,
        "feature.loss": 0.5 * 0.5 * 3,
    }


def test_strong_views_are_drawn_independently(build, batch):
    drawn = []

    class Watching(UniMatch):
        def strong_view(self, step, weak, partner, box):
            drawn.append((box, view := super().strong_view(step, weak, partner, box)))
            return view

    model = build(method="unimatch")
    model.method = Watching(cutmix=1.0)
    losses_of(model, batch())
    ((box, view),) = drawn
    assert not torch.equal(*box.chunk(2))
    assert not torch.equal(*view.chunk(2))


def test_a_batch_twice_is_two_equal_halves():
    maps = torch.rand(2, 3, 4)
    label = PseudoLabel((255 * maps).byte(), maps, maps > 0.2, maps > 0.5)
    for half in halves(twice(label)):
        assert all(torch.equal(a, b) for a, b in zip(half, label, strict=True))
    view = twice(View(maps.unsqueeze(1), maps > 0.2))
    assert view.images.shape == (4, 1, 3, 4)
    assert view.consensus is view.inconsistent is None


def test_shares_the_fields_of_fixmatch():
    assert UniMatch.model_fields.keys() > FixMatch.model_fields.keys()
    assert UniMatch.search.keys() <= UniMatch.model_fields.keys()
