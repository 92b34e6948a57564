"""Distributions over orders, and that the loss in parts is the loss as a whole."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from im_bench.semi import ranking
from im_bench.semi.ranking import rank_loss, rank_probabilities


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 5), sharpness=st.floats(0.1, 5))
def test_orders_are_as_probable_as_drawing_them(seed: int, count: int, sharpness: float) -> None:
    probabilities = (sharpness * drawn(seed, 3, 8)).softmax(-1)
    ranked = probabilities.topk(count, dim=-1).indices
    found = rank_probabilities(probabilities, ranked)
    torch.testing.assert_close(found.sum(-1), torch.ones(3), rtol=0, atol=1e-4)
    # The order of the probabilities themselves is the likeliest.
    assert (found[:, 0] >= found.amax(-1) - 1e-6).all()
    for row in range(3):
        for place, order in enumerate(permutations(ranked[row].tolist())):
            chance, rest = 1.0, probabilities[row, list(order)].double()
            for index, each in enumerate(rest):
                chance *= (each / (rest[index:].sum() + 1e-10)).item()
            assert found[row, place].item() == pytest.approx(chance, rel=1e-3, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 60),
    masked=st.booleans(),
    count=st.integers(1, 6),
)
def test_the_loss_in_parts_is_the_whole_with_its_gradient(
    seed: int, rows: int, masked: bool, count: int
) -> None:
    weak, agents = drawn(seed, 2, 5, 4, 6), torch.tensor([[0, 3, 8, 11, 17, 20]] * 2)[:, :count]
    teaching = drawn(seed + 1, 2, 4, 6) > 0 if masked else None
    found = []
    for size in (None, rows):
        strong = drawn(seed + 2, 2, 5, 4, 6).requires_grad_()
        loss = rank_loss(weak, strong, agents, teaching=teaching, rows=size)
        found.append((loss.detach(), *torch.autograd.grad(loss, strong)))
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-7)


def test_no_part_has_more_pixels_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(weak, *others):
        seen.append(weak.shape[0] * weak.shape[2])
        return original(weak, *others)

    original = ranking._divergence
    monkeypatch.setattr(ranking, "_divergence", watched)
    features = drawn(0, 2, 3, 7, 5)
    rank_loss(features, features, torch.arange(6).expand(2, -1), rows=20)
    assert max(seen) == 20
    assert sum(seen) == 2 * 7 * 5


def test_equal_views_have_no_loss_and_others_some() -> None:
    features, agents = drawn(0, 2, 5, 4, 4), torch.arange(8).expand(2, -1)
    assert abs(rank_loss(features, features, agents)) < 1e-6
    assert rank_loss(features, drawn(1, 2, 5, 4, 4), agents) > 1e-3


def test_pixels_that_do_not_teach_add_nothing() -> None:
    weak, strong, agents = drawn(0, 1, 5, 4, 4), drawn(1, 1, 5, 4, 4), torch.arange(6).expand(1, -1)
    half = torch.zeros(1, 4, 4, dtype=torch.bool)
    half[:, :2] = True
    parts = [rank_loss(weak, strong, agents, teaching=each) for each in (half, ~half)]
    torch.testing.assert_close(sum(parts), rank_loss(weak, strong, agents))
    assert rank_loss(weak, strong, agents, teaching=half & ~half) == 0


def test_no_gradient_reaches_the_weak_view() -> None:
    weak, strong = drawn(0, 1, 5, 4, 4).requires_grad_(), drawn(1, 1, 5, 4, 4).requires_grad_()
    rank_loss(weak, strong, torch.arange(6).expand(1, -1)).backward()
    assert weak.grad is None
    assert strong.grad is not None
    assert strong.grad.isfinite().all()


def test_features_of_any_size_give_finite_gradients() -> None:
    """Softmaxes of large products are sharp, and products of their zeros may not become NaN."""
    for scale in (1e-3, 1.0, 1e2, 1e4):
        strong = (scale * drawn(1, 2, 8, 5, 5)).requires_grad_()
        loss = rank_loss(scale * drawn(0, 2, 8, 5, 5), strong, torch.arange(12).expand(2, -1))
        loss.backward()
        assert loss.isfinite()
        assert strong.grad.isfinite().all()
