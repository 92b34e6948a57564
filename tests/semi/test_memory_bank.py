from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from im_bench.errors import ImBenchError
from im_bench.semi.memory_bank import MemoryBank


def contents(bank: MemoryBank) -> list[list[float]]:
    """Return what each class holds, oldest first; rows have one feature."""
    return [
        bank.read(torch.tensor([each]), torch.arange(int(length))[None])[0, :, 0].tolist()
        for each, length in enumerate(bank.length)
    ]


@settings(max_examples=60, deadline=None)
@given(
    capacity=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    batches=st.lists(st.lists(st.integers(0, 4), max_size=12), max_size=6),
)
def test_each_class_is_a_queue_that_keeps_the_newest(capacity, batches):
    bank = MemoryBank(capacity, features=1)
    queues: list[list[float]] = [[] for _ in capacity]
    number = 0.0
    for batch in batches:
        rows = torch.arange(len(batch)) + number
        bank.enqueue(rows.unsqueeze(1), torch.tensor(batch, dtype=torch.long))
        for row, each in zip(rows.tolist(), batch, strict=True):
            if each < len(capacity):
                queues[each].append(row)
        number += len(batch)
    assert contents(bank) == [q[-room:] for q, room in zip(queues, capacity, strict=True)]


def test_several_classes_are_read_at_once():
    bank = MemoryBank([3, 2], features=2)
    rows = torch.arange(10.0).view(5, 2)
    bank.enqueue(rows, torch.tensor([1, 0, 1, 1, 0]))
    read = bank.read(torch.tensor([1, 0, 1]), torch.tensor([[0, 1], [1, 1], [1, 1]]))
    torch.testing.assert_close(read, rows[torch.tensor([[2, 3], [4, 4], [3, 3]])])


def test_a_checkpoint_holds_rows_and_where_the_queues_stand():
    bank, restored = (MemoryBank([2, 3], features=1) for _ in range(2))
    bank.enqueue(torch.arange(7.0).view(7, 1), torch.tensor([0, 0, 0, 1, 1, 0, 1]))
    restored.load_state_dict(bank.state_dict())
    assert contents(restored) == contents(bank) == [[2, 5], [3, 4, 6]]
    restored.enqueue(torch.tensor([[9.0]]), torch.tensor([0]))
    assert contents(restored)[0] == [5, 9]


def test_half_precision_halves_the_memory_and_is_read_as_float32():
    bank = MemoryBank([4], features=1, dtype=torch.float16)
    bank.enqueue(torch.tensor([[1 / 3]]), torch.tensor([0]))
    assert bank.rows.element_size() == 2
    read = bank.read(torch.tensor([0]), torch.tensor([[0]]))
    assert read.dtype == torch.float32
    torch.testing.assert_close(read, torch.full((1, 1, 1), 1 / 3), rtol=1e-3, atol=0)


@pytest.mark.parametrize("capacity", [[], [3, 0]])
def test_a_class_without_room_is_an_error(capacity):
    with pytest.raises(ImBenchError, match="needs room in every class"):
        MemoryBank(capacity, features=1)
