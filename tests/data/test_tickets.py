"""The order of labelled and unlabelled images."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from im_bench.data import tickets
from im_bench.data.tickets import Tickets, TicketSampler, branch_seed, check_partner
from im_bench.errors import ImBenchError

counts = st.integers(1, 30)
seeds = st.integers(0, 2**32 - 1)


class Images:
    """A data set of so many tickets per epoch."""

    def __init__(self, count: int, seed: int | None = None) -> None:
        self.count = count
        self.seed = seed

    def __len__(self) -> int:
        return self.count


@given(counts, counts, seeds, st.integers(0, 3))
def test_an_epoch_shows_each_unlabelled_image_once(
    labelled: int, unlabelled: int, seed: int, epoch: int
) -> None:
    order = Tickets(labelled, unlabelled, seed)
    assert order.epoch_length == unlabelled
    shown = [order[epoch * unlabelled + position] for position in range(unlabelled)]
    assert sorted(each.unlabelled or 0 for each in shown) == list(range(unlabelled))
    assert sorted(each.other or 0 for each in shown) == list(range(unlabelled))
    times = Counter(each.labelled for each in shown)
    fewest = min(times[image] for image in range(labelled))
    assert max(times.values()) - fewest <= 1


@given(counts, st.integers(2, 30), seeds, st.integers(0, 200))
def test_the_other_image_is_another_one(
    labelled: int, unlabelled: int, seed: int, number: int
) -> None:
    ticket = Tickets(labelled, unlabelled, seed)[number]
    assert ticket.unlabelled != ticket.other


@given(counts, seeds)
def test_without_unlabelled_images_an_epoch_shows_the_labelled_ones(count: int, seed: int) -> None:
    order = Tickets(count, 0, seed)
    shown = [order[number] for number in range(count)]
    assert sorted(each.labelled for each in shown) == list(range(count))
    assert all(each.unlabelled is None and each.other is None for each in shown)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    def epoch(seed: int, number: int) -> list[tuple[int, int | None]]:
        order = Tickets(5, 40, seed)
        return [order[number * 40 + position][:2] for position in range(40)]

    assert epoch(1, 0) == epoch(1, 0)
    assert epoch(1, 0) != epoch(1, 1) != epoch(2, 1)


def test_branches_and_tickets_have_seeds_of_their_own() -> None:
    drawn = {
        branch_seed(seed, number, branch)
        for seed in range(5)
        for number in range(20)
        for branch in tickets.BRANCHES
    }
    assert len(drawn) == 5 * 20 * 3


@pytest.mark.parametrize("processes", [1, 3])
def test_processes_share_the_tickets(processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    for rank in range(processes):
        monkeypatch.setattr(tickets, "get_dist_info", lambda rank=rank: (rank, processes))
        sampler = TicketSampler(Images(10))
        assert len(sampler) == -(-10 // processes)
        shares.append(list(islice(sampler, 12)))
    assert sorted(number for share in shares for number in share) == list(range(12 * processes))


@given(st.integers(0, 1000))
def test_skipping_continues_where_it_was(done: int) -> None:
    sampler = TicketSampler(Images(7))
    whole = list(islice(sampler, done + 5))
    sampler.skip(done)
    assert list(islice(sampler, 5)) == whole[done:]


def test_the_sampler_hands_on_its_seed_unless_there_is_one() -> None:
    without, given = Images(3), Images(3, seed=5)
    TicketSampler(without, seed=8)
    TicketSampler(given, seed=8)
    assert (without.seed, given.seed) == (8, 5)


def test_wrong_partners() -> None:
    with pytest.raises(ImBenchError, match="partner 'else' is unknown: use none, same or other"):
        check_partner("else", True)  # type: ignore[arg-type]
    with pytest.raises(ImBenchError, match="needs unlabelled images"):
        check_partner("same", False)
