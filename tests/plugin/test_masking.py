"""When pseudo-labels are used, and how a consensus becomes predictions again."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmseg.models import SegDataPreProcessor

from im_bench.errors import ImBenchError
from im_bench.masks import consensus
from im_bench.models.preprocessor import BatchPreprocessor
from im_bench.plugin.masking import Schedule, as_predictions, reverses_channels
from im_bench.semi.preprocessor import SemiPreprocessor

counts = st.integers(0, 50)


@given(counts, counts)
def test_the_share_grows_from_nothing_to_all(warmup, ramp):
    schedule = Schedule(warmup, ramp)
    shares = [schedule.share(iteration) for iteration in range(warmup + ramp + 3)]
    assert shares == sorted(shares)
    assert all(share == 0 for share in shares[:warmup])
    assert all(0 < share < 1 for share in shares[warmup : warmup + ramp])
    assert all(share == 1 for share in shares[warmup + ramp :])


def test_draws_depend_on_seed_and_iteration_alone():
    schedule = Schedule(ramp=9)
    first = [schedule.drawn(iteration, 8, (3, 0)) for iteration in range(9)]
    assert first == [schedule.drawn(iteration, 8, (3, 0)) for iteration in range(9)]
    assert first != [schedule.drawn(iteration, 8, (3, 1)) for iteration in range(9)]
    drawn = [sum(schedule.drawn(4, 1000, (seed, 0))) for seed in range(5)]
    assert sum(drawn) / 5000 == pytest.approx(0.5, abs=0.05)


def test_negative_numbers_are_refused():
    with pytest.raises(ImBenchError, match="must not be negative"):
        Schedule(ramp=-1)


def test_predictions_have_the_consensus_that_they_are_made_from():
    marks = torch.randint(0, 254, (2, 9, 9), dtype=torch.uint8)
    marks[0, 0], marks[1, 1] = 254, 255
    labels, inconsistent = consensus(as_predictions(marks), "multiclass")
    assert torch.equal(inconsistent, marks == 254)
    assert torch.equal(labels, marks.masked_fill(marks >= 254, 0))


@pytest.mark.parametrize("kind", [SegDataPreProcessor, BatchPreprocessor, SemiPreprocessor])
@pytest.mark.parametrize("bgr_to_rgb", [False, True])
def test_preprocessors_say_whether_they_reverse_channels(kind, bgr_to_rgb):
    preprocessor = kind(mean=[0] * 3, std=[1] * 3, bgr_to_rgb=bgr_to_rgb)
    assert reverses_channels(preprocessor) == bgr_to_rgb
