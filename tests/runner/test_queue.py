"""The queue of what can start."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from im_bench.runner.queue import ReadyQueue


def never(item: object) -> None:
    raise AssertionError(item)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc")), max_size=30))
def test_without_a_lack_of_room_ranks_decide(items) -> None:
    queue: ReadyQueue[int] = ReadyQueue()
    for number, (rank, shape) in enumerate(items):
        queue.push((rank,), (shape,), number)
    assert len(queue) == len(items)
    popped = [queue.pop(lambda _: True, never) for _ in items]
    assert popped == sorted(range(len(items)), key=lambda i: (items[i][0], i))
    assert queue.pop(lambda _: True, never) is None


def test_only_the_first_of_each_shape_is_asked_for() -> None:
    queue: ReadyQueue[str] = ReadyQueue()
    for number in range(1000):
        queue.push((number,), ("large",), f"large{number}")
        queue.push((number,), ("small",), f"small{number}")
    asked = []

    def fits(item: str) -> bool:
        asked.append(item)
        return item.startswith("small")

    assert queue.pop(fits, never) == "small0"
    assert asked == ["large0", "small0"]


def test_room_is_kept_for_what_was_overtaken_often_and_no_longer() -> None:
    queue: ReadyQueue[str] = ReadyQueue(patience=3)
    kept: list[str | None] = []
    queue.push((0,), ("large",), "large")
    for number in range(9):
        queue.push((1,), ("small",), f"small{number}")
    for _ in range(3):
        queue.pop(lambda item: item != "large", kept.append)
    assert kept == []
    assert queue.pop(lambda _: False, kept.append) is None
    assert kept == ["large"]
    assert queue.pop(lambda _: True, kept.append) == "large"
    assert queue.pop(lambda _: True, kept.append) == "small3"
    assert kept == ["large", None]
