from __future__ import annotations

import math

import pytest
import torch
import torch.distributed
from hypothesis import given
from hypothesis import strategies as st

from im_bench.semi.gaussian_threshold import MIN_PIXELS, GaussianThreshold, densities_cross


def batch(correct: list[float], wrong: list[float]) -> tuple[torch.Tensor, ...]:
    """Return confidences of pixels, which are correct, and which count."""
    confidence = torch.tensor([*correct, *wrong])
    right = torch.arange(len(confidence)) < len(correct)
    return confidence, right, torch.ones_like(right)


def density(at: float, mean: torch.Tensor, variance: torch.Tensor) -> float:
    return math.exp(-((at - mean) ** 2) / (2 * variance)) / math.sqrt(variance)


@given(
    st.floats(0.55, 0.95),
    st.floats(0.2, 0.45),
    st.floats(0.005, 0.05),
    st.floats(0.005, 0.05),
    st.floats(0.5, 2),
)
def test_densities_are_equal_where_they_cross(mean_1, mean_2, variance_1, variance_2, alpha):
    if abs(variance_1 - variance_2) < 1e-3:
        return  # float32 has few digits there
    mean, variance = torch.tensor([[mean_1, mean_2], [variance_1, variance_2]])
    crossing, exists = densities_cross(mean, variance, alpha)
    if exists:
        first, second = (density(float(crossing), mean[i], variance[i]) for i in range(2))
        assert first == pytest.approx(alpha * second, rel=1e-2, abs=1e-6)


@given(st.floats(0.7, 0.95), st.floats(0.3, 0.5), st.floats(0.002, 0.02), st.floats(0.002, 0.02))
def test_of_densities_that_stand_apart_the_crossing_is_between(high, low, variance_1, variance_2):
    if abs(variance_1 - variance_2) < 1e-3:
        return
    crossing, exists = densities_cross(
        torch.tensor([high, low]), torch.tensor([variance_1, variance_2])
    )
    assert exists
    assert low < crossing < high


def test_a_heavier_density_of_wrong_pixels_raises_the_threshold():
    mean, variance = torch.tensor([0.9, 0.5]), torch.tensor([0.01, 0.02])
    crossings = [densities_cross(mean, variance, alpha)[0] for alpha in (0.5, 1.0, 2.0)]
    assert crossings == sorted(crossings)


def test_without_a_crossing_the_threshold_stays():
    threshold = GaussianThreshold(4, start=0.6, momentum=1.0)
    value = threshold(*batch([0.9] * 20, [0.5] * 20))  # both Gaussians are as at first: equal
    assert not densities_cross(threshold.mean, threshold.variance)[1]
    assert value == threshold.value == pytest.approx(0.6)


def test_statistics_move_towards_those_of_the_batch():
    right, wrong = torch.linspace(0.7, 0.99, 30).tolist(), torch.linspace(0.3, 0.8, 20).tolist()
    threshold = GaussianThreshold(4, momentum=0.75)
    threshold(*batch(right, wrong))
    for kind, values in enumerate((right, wrong)):
        sample = torch.tensor(values)
        torch.testing.assert_close(threshold.mean[kind], 0.75 * 0.25 + 0.25 * sample.mean())
        torch.testing.assert_close(threshold.variance[kind], 0.75 * 0.5 + 0.25 * sample.var())


def test_the_threshold_finds_its_place_between_the_means():
    generator = torch.Generator().manual_seed(0)
    threshold = GaussianThreshold(4, momentum=0.5)
    for _ in range(30):
        right = 0.9 + 0.03 * torch.randn(500, generator=generator)
        wrong = 0.5 + 0.1 * torch.randn(500, generator=generator)
        value = threshold(*batch(right.tolist(), wrong.tolist()))
    assert 0.6 < value < 0.88


@pytest.mark.parametrize("few", [0, 1, MIN_PIXELS - 1])
def test_few_pixels_say_nothing(few):
    threshold = GaussianThreshold(4, momentum=0.0)
    threshold(*batch([0.9, 0.7] * 10, [0.5] * few))
    assert threshold.mean.tolist() == [pytest.approx(0.8), 0.25]
    assert threshold.variance[1] == 0.5
    threshold(*batch([0.9, 0.7] * 10, [0.5] * MIN_PIXELS))
    assert threshold.mean[1] == 0.5


def test_pixels_that_do_not_count_are_not_looked_at():
    confidence, right, everywhere = batch([0.9, 0.8] * 10, [0.4, 0.6] * 10)
    counted = everywhere.clone()
    more = torch.cat([confidence, torch.full((50,), 0.1)])
    alone, among = GaussianThreshold(4), GaussianThreshold(4)
    alone(confidence, right, everywhere)
    among(more, torch.cat([right, torch.zeros(50) > 0]), torch.cat([counted, torch.zeros(50) > 0]))
    assert torch.equal(alone.mean, among.mean)
    assert torch.equal(alone.variance, among.variance)


def test_threshold_is_never_below_chance():
    threshold = GaussianThreshold(2, momentum=0.0)
    assert threshold(*batch([0.5, 0.52] * 20, [0.9, 0.99] * 20)) >= 0.5


def test_all_of_it_is_in_checkpoints():
    threshold, other = GaussianThreshold(4), GaussianThreshold(4)
    threshold(*batch([0.9, 0.8] * 10, [0.4, 0.6] * 10))
    other.load_state_dict(threshold.state_dict())
    more = batch([0.7, 0.8] * 10, [0.4, 0.5] * 10)
    assert threshold(*more) == other(*more) != 0.95


def _in_a_process(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    threshold = GaussianThreshold(4, momentum=0.0)
    right = [[0.9, 0.8] * 10, [0.7, 0.6] * 10][rank]
    wrong = [[0.5, 0.4] * 10, []][rank]  # the second process has too few
    threshold(*batch(right, wrong))
    torch.save(threshold.state_dict(), f"{folder}/{rank}.pth")
    torch.distributed.destroy_process_group()


def test_processes_share_means_and_variances(tmp_path):
    torch.multiprocessing.spawn(_in_a_process, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pth") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.testing.assert_close(first["mean"], torch.tensor([(0.85 + 0.65) / 2, (0.45 + 0.25) / 2]))
    # Around the mean of both processes, which is 0.1 off each one's own.
    expected = 20 / 19 * (0.05**2 + 0.1**2)
    torch.testing.assert_close(first["variance"][0], torch.tensor(expected))
