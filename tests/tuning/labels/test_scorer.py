from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from im_bench.errors import ImBenchError
from im_bench.tuning.labels import scorer as scorer_module
from im_bench.tuning.labels.knobs import Knobs
from im_bench.tuning.labels.scorer import LabelScorer

from .conftest import Data, make_data, plain_score

FILTERS = ("none", "foreground", "classes", "original")


def all_knobs() -> list[Knobs]:
    """Return trials of every kind, with thresholds that some confidence equals exactly."""
    masks = itertools.product((1, 2, 4), (0, 3), (0, 2, 5), FILTERS)
    thresholds = itertools.cycle((0.0, 0.5, 0.6, 0.75, 0.9, 0.95117188, 1.0, 1.5))
    return [Knobs(t, *mask) for mask in masks for t in itertools.islice(thresholds, 3)]


@pytest.mark.parametrize("labels", ["consensus", "own"])
@pytest.mark.parametrize(
    ("space", "cells"),
    [("binary", False), ("multiclass", False), ("multilabel", False), ("multilabel", True)],
)
def test_scores_are_those_of_counting_image_by_image(
    space: str, cells: bool, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer_module, "BATCH", 3)  # and a last batch of one
    data = make_data(space, cells=cells)
    trials = all_knobs()
    scores = LabelScorer(*data, labels).score(trials)
    for knobs, score in zip(trials, scores, strict=True):
        assert score == pytest.approx(plain_score(data, labels, knobs), abs=1e-12), knobs
    assert len(set(scores)) > 30, "the trials differ in what they keep"


@pytest.mark.parametrize("space", ["binary", "multiclass", "multilabel"])
def test_padding_counts_nowhere(space: str) -> None:
    probabilities, truth, meta = make_data(space)
    count, side, wide = len(truth), truth.shape[1], truth.shape[1] + 8
    padded = np.zeros((*probabilities.shape[:3], wide, wide), np.float16)
    if space == "multiclass":
        padded[:, :, 0] = 1
    padded[..., :side, :side] = probabilities
    value = 0 if space == "multilabel" else 255
    more = np.full((count, wide, wide), value, np.uint8)
    more[:, :side, :side] = truth
    sized = {**meta, "size": [wide, wide], "sizes": {"val": [[side, side]] * count}}
    trials = [Knobs(threshold, 2, 0, 0, "none") for threshold in (0.0, 0.6, 0.9)]
    without = LabelScorer(probabilities, truth, meta, "own").score(trials)
    assert LabelScorer(padded, more, sized, "own").score(trials) == without


@pytest.mark.parametrize("remembered", [scorer_module.REMEMBERED, 2])
def test_scores_do_not_depend_on_what_was_scored_before(
    remembered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer_module, "REMEMBERED", remembered)
    data = make_data("multiclass")
    trials = all_knobs()[::5]
    together = LabelScorer(*data, "own").score(trials)
    scorer = LabelScorer(*data, "own")
    assert [scorer.score([knobs])[0] for knobs in reversed(trials)][::-1] == together
    assert scorer.score(trials) == together


def test_a_pixel_as_sure_as_the_threshold_is_kept() -> None:
    data = make_data("binary", images=2)
    scorer = LabelScorer(*data, "own")
    said = torch.from_numpy(data.probabilities[0]).float()
    sure = torch.maximum(said, 1 - said).half().double()[:, 0][torch.from_numpy(data.truth) != 255]
    threshold = float(sure.median())
    exactly, beyond = scorer.score([Knobs(threshold), Knobs(np.nextafter(threshold, 1))])
    at_threshold = int((sure == threshold).sum())
    assert at_threshold > 0
    assert exactly.coverage - beyond.coverage == pytest.approx(at_threshold / len(sure))


def test_leaving_out_a_class_does_not_pay() -> None:
    """Half of the pixels show a class that is always found and never surely."""
    probabilities = np.zeros((1, 1, 2, 4, 4), np.float16)
    probabilities[:, :, 0, :2], probabilities[:, :, 1, :2] = 0.99, 0.01
    probabilities[:, :, 0, 2:], probabilities[:, :, 1, 2:] = 0.4, 0.6
    truth = np.repeat([0, 0, 1, 1], 4).reshape(1, 4, 4).astype(np.uint8)
    meta = make_data("multiclass").meta | {"outputs": 2, "size": [4, 4]}
    everything, sure, nothing = LabelScorer(probabilities, truth, meta, "own").score(
        [Knobs(0.5), Knobs(0.9), Knobs(1.0)]
    )
    assert everything == (1.0, 1.0, 1.0)
    assert sure == (0.5, 0.5, 1.0)
    assert nothing == (0.0, 0.0, 0.0)


def broken(data: Data, what: str) -> Data:
    if what == "labels":
        return data._replace(truth=np.full_like(data.truth, 255))
    if what == "label":
        return data._replace(truth=np.full_like(data.truth, 4))
    return data._replace(probabilities=data.probabilities * np.float16(3))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("labels", "no pixel of the validation images of data set 'blobs' has a label"),
        ("label", "has the label 4 on a validation image, but only 4 labels exist"),
        ("probabilities", "are no probabilities"),
    ],
)
def test_what_cannot_be_scored_is_refused(what: str, message: str) -> None:
    with pytest.raises(ImBenchError, match=message):
        LabelScorer(*broken(make_data("multiclass"), what), "own")


def test_trials_that_cannot_be_made_are_refused() -> None:
    scorer = LabelScorer(*make_data("binary", networks=2), "consensus")
    with pytest.raises(ImBenchError, match="3 teachers cannot be chosen among 2"):
        scorer.score([Knobs(teachers=3)])
    with pytest.raises(ImBenchError, match="'erode' must lie within 0 and 255"):
        scorer.score([Knobs(erode=-1)])
    with pytest.raises(ImBenchError, match=r"unknown field .* 'drop_percent'"):
        Knobs.of({"labels": "own", "drop_percent": 80})
