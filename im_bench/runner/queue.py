"""Stages that can start, the most urgent first, whatever room each of them needs."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Rank = tuple[int, ...]
Shape = tuple[object, ...]

#: How often others may overtake the most urgent one that finds no room.
PATIENCE = 16


class ReadyQueue(Generic[Item]):
    """A queue in which only the first of each shape is looked at: if it finds no room, none does.

    Args:
        patience: How often the most urgent item may be overtaken before room is kept for it.
    """

    def __init__(self, patience: int = PATIENCE) -> None:
        self._heaps: dict[Shape, list[tuple[Rank, int, Item]]] = {}
        self._patience = patience
        self._pushed = 0
        self._overtaken = 0
        self._kept_for: Item | None = None

    def __len__(self) -> int:
        return sum(map(len, self._heaps.values()))

    def push(self, rank: Rank, shape: Shape, item: Item) -> None:
        """Add an item; smaller ranks come first, and equal ones in the order of their coming."""
        self._pushed += 1
        heapq.heappush(self._heaps.setdefault(shape, []), (rank, self._pushed, item))

    def pop(
        self, fits: Callable[[Item], bool], reserve: Callable[[Item | None], None]
    ) -> Item | None:
        """Take out the most urgent item that fits, or return None while none does.

        Args:
            fits: Whether there is room for an item now.
            reserve: Told to keep room for an item that was overtaken too often, or for none.
        """
        heads = sorted((heap[0][:2], shape) for shape, heap in self._heaps.items())
        urgent = self._heaps[heads[0][1]][0][2] if heads else None
        # Only now, not when it was overtaken: whoever did that had yet to be started.
        keep_for = urgent if self._overtaken >= self._patience else None
        if keep_for is not self._kept_for:
            self._kept_for = keep_for
            reserve(keep_for)
        for _, shape in heads:
            heap = self._heaps[shape]
            item = heap[0][2]
            if fits(item):
                heapq.heappop(heap)
                if not heap:
                    del self._heaps[shape]
                self._overtaken = 0 if item is urgent else self._overtaken + 1
                return item
        return None
