from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from semi.steps import step_of

from im_bench.methods.crossmatch import (
    Consistency,
    CrossMatch,
    Streams,
    consistency,
    distillation,
    rising_threshold,
)
from im_bench.semi.losses import label_dice
from im_bench.semi.network import Network
from im_bench.semi.step import Clock

from .steps import losses_of


def test_inconsistent_pixels_are_left_out_of_dice(build, batch):
    model = build(method={"name": "crossmatch", "threshold": 0.0, "cutmix": 0.0})
    raw = batch(masks=True)
    raw["data_samples"]["unlabelled"]["inconsistent"][:] = True
    found = losses_of(model, raw)
    assert found["strong.loss"] == 0
    assert found["distillation.loss"] == 0
    assert found["labelled.loss"] > 0


def test_padding_is_left_out_of_dice(build, batch):
    model = build(method={"name": "crossmatch", "threshold": 0.0, "cutmix": 0.0})
    raw = batch()
    raw["data_samples"]["unlabelled"]["valid"][:] = False
    found = losses_of(model, raw)
    assert found["strong.loss"] == 0
    assert found["distillation.loss"] == 0


def test_partners_teach_strong_views(build, batch):
    fields = {"name": "crossmatch", "threshold": 0.0, "cutmix": 1.0}
    found = {}
    for valid in (True, False):
        raw = batch()
        raw["data_samples"]["partner"]["valid"][:] = valid
        found[valid] = losses_of(build(method=fields), raw)
    assert found[True]["strong.loss"] != found[False]["strong.loss"]
    assert found[True]["distillation.loss"] != found[False]["distillation.loss"]
    assert found[True]["labelled.loss"] == found[False]["labelled.loss"]


@pytest.mark.parametrize("labelled_dice", [False, True])
def test_labelled_loss_is_the_usual_one_or_its_mean_with_dice(build, batch, labelled_dice):
    fields = {"weak_drop": 0.0, "strong_drop": 0.0, "labelled_dice": labelled_dice}
    model = build(method={"name": "crossmatch", **fields})
    found = losses_of(model, batch())["labelled.loss"]
    made = model.data_preprocessor(batch(), True)
    labels, inputs = made["data_samples"], made["inputs"]
    unlabelled = model.data_preprocessor.normalise(inputs["unlabelled"].images)
    network = Network(model.student)
    features = network.encode(torch.cat([inputs["labelled"], unlabelled]))
    # BatchNorm of the decoder sees the weak view in each of three streams.
    features = [torch.cat([each, each[2:], each[2:]]) for each in features]
    logits = network.decode(tuple(features), (32, 32))[:2]
    expected = model.space.loss(logits, labels)
    if labelled_dice:
        expected = (expected + label_dice(model.space, logits, labels)) / 2
    torch.testing.assert_close(found, expected / 2)


class TestStreams:
    @pytest.fixture
    def network(self, build):
        return Network(build().student.eval())

    def decoded(self, network, **fields):
        first, second = torch.rand(2, 3, 32, 32), torch.rand(3, 3, 32, 32)
        _, own, streams = CrossMatch(**fields).decode_streams(network, first, second)
        return network(first), network(second), own, streams

    def test_clean_logits_are_those_of_the_network(self, network):
        first, second, own, streams = self.decoded(network)
        torch.testing.assert_close(own, first)
        torch.testing.assert_close(streams.clean, second)

    def test_each_stream_has_a_perturbation_of_its_own(self, network):
        _, second, _, streams = self.decoded(network, strong_drop=0.0)
        torch.testing.assert_close(streams.strong, second)
        assert not torch.allclose(streams.weak, second)

    def test_without_perturbation_all_streams_are_equal(self, network):
        _, _, _, streams = self.decoded(network, weak_drop=0.0, strong_drop=0.0)
        torch.testing.assert_close(streams.weak, streams.clean)
        torch.testing.assert_close(streams.strong, streams.clean)

    def test_labels_are_predicted_in_training_mode_without_gradient(self, build, batch):
        model = build(method="crossmatch")
        seen = []

        class Watching(CrossMatch):
            def decode_streams(self, network, first, second):
                seen.append((network.segmentor.training, torch.is_grad_enabled()))
                return super().decode_streams(network, first, second)

        model.method = Watching()
        losses_of(model, batch())
        assert seen == [(True, False), (True, True), (True, True)]


def test_who_teaches_whom():
    """Labels and logits are names here, and a loss tells who met whom."""
    met = consistency(
        lambda logits, label: f"{logits}<{label}",
        first="s1",
        second=Streams("s2", "s2w", "s2s"),
        weak=Streams("u", "uw", "us"),
        label="U",
        mixed=[Streams("M1", "M1w", "M1s"), Streams("M2", "M2w", "M2s")],
    )
    assert met == Consistency(
        strong=("s1<M1", "s2<M2"),
        from_clean=("uw<U", "us<U", "s2w<M2", "s2s<M2"),
        from_own=("s2w<M2w", "s2s<M2s"),
    )


def test_eta_is_the_share_of_the_streams_own_labels():
    ones, threes = torch.ones(4).unbind(), torch.full((2,), 3.0).unbind()
    terms = Consistency(ones[:2], ones, threes)
    for eta in (0.0, 0.25, 1.0):
        assert distillation(terms, eta) == 1 + 2 * eta


class TestThreshold:
    def test_la_starts_at_the_base_then_falls_and_rises(self):
        values = [rising_threshold(0.75, iteration, 17_000) for iteration in range(0, 17_002, 100)]
        assert values[0] == 0.75
        assert values[1] == pytest.approx(0.521, abs=1e-3)
        assert values[1:] == sorted(values[1:])
        assert rising_threshold(0.75, 17_001, 17_000) == pytest.approx(math.log(2))

    @given(st.floats(0, 1), st.integers(0, 10**6), st.floats(1, 1e6))
    def test_stays_a_probability(self, base, iteration, ramp):
        assert 0 <= rising_threshold(base, iteration, ramp) <= 1

    def test_a_ramp_is_measured_in_trainings(self, build):
        method = CrossMatch(threshold_schedule="rising", threshold=0.75)
        step = step_of(build(method="crossmatch"))
        step.clock = Clock(iteration=8_000, iterations=14_000)
        expected = rising_threshold(0.75, 8_000, 17_000)
        assert method.current_threshold(step, label=None) == pytest.approx(expected)

    def test_moving_average_is_in_the_checkpoint(self, build, batch):
        fields = {"name": "crossmatch", "threshold_schedule": "adaptive", "threshold": 0.95}
        model = build(method=fields)
        assert model.state_dict()["state.threshold.value"] == pytest.approx(0.95)
        losses_of(model, batch())
        moved = model.state_dict()["state.threshold.value"]
        assert 0.25 < moved < 0.95
        other = build(method=fields)
        other.load_state_dict(model.state_dict())
        assert other.state["threshold"].value == moved


def test_fields_of_a_search_are_fields():
    assert CrossMatch.search.keys() <= CrossMatch.model_fields.keys()
