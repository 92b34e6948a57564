"""Agents are distinct, far from each other, and pasted features are those of pasted images."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from im_bench.semi.agents import gather_pixels, paste_features, select_agents
from im_bench.semi.boxes import cutmix_boxes


def features(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 40),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    flat=st.booleans(),
)
def test_agents_are_distinct_and_in_order(seed: int, count: int, size, flat: bool) -> None:
    maps = torch.ones(3, 4, *size) if flat else features(seed, 3, 4, *size)
    draws = torch.rand(3, size[0] * size[1], generator=torch.Generator().manual_seed(seed))
    found = select_agents(maps, count, draws)
    assert found.shape == (3, min(count, size[0] * size[1]))
    assert (found.diff(dim=1) > 0).all()
    assert (found == draws.argmax(1, keepdim=True)).any(1).all()


def test_each_agent_is_the_least_like_those_before_it() -> None:
    maps, draws = features(0, 1, 3, 5, 4), torch.rand(1, 20)
    directions = F.normalize(maps.flatten(2)[0], dim=0)
    cosines = (directions.T @ directions).abs()
    expected = [int(draws.argmax())]
    while len(expected) < 6:
        rest = [each for each in range(20) if each not in expected]
        expected.append(min(rest, key=lambda each: cosines[each, expected].max().item()))
    assert select_agents(maps, 6, draws)[0].tolist() == sorted(expected)


def test_images_of_a_batch_do_not_see_each_other() -> None:
    maps, draws = features(1, 3, 4, 5, 5), torch.rand(3, 25)
    alone = [select_agents(maps[i : i + 1], 8, draws[i : i + 1]) for i in range(3)]
    assert torch.equal(select_agents(maps, 8, draws), torch.cat(alone))


def test_pixels_that_are_no_candidates_come_last() -> None:
    maps, draws = features(2, 2, 4, 4, 4), torch.rand(2, 16)
    draws[:, 5:] = -1
    assert select_agents(maps, 5, draws).tolist() == [[0, 1, 2, 3, 4]] * 2
    more = select_agents(maps, 9, draws)
    assert more[:, :5].tolist() == [[0, 1, 2, 3, 4]] * 2
    assert (more.diff(dim=1) > 0).all()


def test_vectors_of_agents_are_those_of_their_pixels() -> None:
    maps = features(3, 2, 4, 3, 5)
    positions = torch.tensor([[0, 7], [4, 14]])
    found = gather_pixels(maps, positions)
    assert torch.equal(found[0, 1], maps[0, :, 1, 2])
    assert torch.equal(found[1, 0], maps[1, :, 0, 4])
    assert torch.equal(found[1, 1], maps[1, :, 2, 4])


@pytest.mark.parametrize(
    ("grid", "size"),
    [((5, 5), (65, 65)), ((4, 6), (49, 90)), ((7, 3), (7, 3)), ((1, 2), (16, 9)), ((9, 9), (5, 4))],
)
def test_pasted_features_are_enlarged_pasted_and_reduced(grid, size) -> None:
    own, other = features(4, 3, 6, *grid), features(5, 3, 6, *grid)
    box = cutmix_boxes(2, *size, torch.Generator().manual_seed(0), probability=1.0)
    box = torch.cat([box, torch.rand(1, *size, generator=torch.Generator().manual_seed(1)) > 0.5])

    def resize(maps: torch.Tensor, to) -> torch.Tensor:
        return F.interpolate(maps, to, mode="bilinear", align_corners=True)

    pasted = torch.where(box.unsqueeze(1), resize(other, size), resize(own, size))
    expected = resize(pasted, grid)
    torch.testing.assert_close(paste_features(own, other, box), expected, rtol=1e-4, atol=1e-5)
