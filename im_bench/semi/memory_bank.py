"""Queues of feature vectors, one for each class, that live on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from im_bench.errors import ImBenchError


class MemoryBank(nn.Module):
    """First-in-first-out queues of feature vectors of C classes.

    All is kept in buffers of fixed size, so that it is in the checkpoint and so that neither adding
    nor reading waits for the device. Row ``n`` of a class, counted since the beginning, is stored
    at position ``n % capacity``.

    Attributes:
        written: How many rows each class was ever given, int64 (C,).

    Args:
        capacity: Rows that each class keeps.
        features: D, the length of a row.
        dtype: Of the stored rows.

    Raises:
        ImBenchError: There is no class, or one without room.
    """

    capacity: Tensor
    rows: Tensor
    written: Tensor
    _start: Tensor

    def __init__(
        self, capacity: Sequence[int], features: int, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        if not capacity or min(capacity) < 1:
            raise ImBenchError(f"a memory bank needs room in every class, not {list(capacity)}")
        room = torch.tensor(capacity)
        self.register_buffer("capacity", room, persistent=False)
        self.register_buffer("_start", room.cumsum(0) - room, persistent=False)
        self.register_buffer("written", torch.zeros_like(room))
        # The last row takes what is not to be kept.
        self.register_buffer("rows", torch.zeros(sum(capacity) + 1, features, dtype=dtype))

    @property
    def length(self) -> Tensor:
        """How many rows each class has, int64 (C,)."""
        return torch.minimum(self.written, self.capacity)

    @torch.no_grad()
    def enqueue(self, rows: Tensor, classes: Tensor) -> None:
        """Append rows; the oldest ones of a full queue go.

        Args:
            rows: (M, D), oldest first.
            classes: Of which class each row is, int64 (M,); C or more for rows to leave out.
        """
        count = len(self.capacity)
        order = classes.argsort(stable=True)
        classes = classes[order]
        edges = torch.searchsorted(classes, torch.arange(count + 1, device=classes.device))
        known = classes.clamp(max=count - 1)
        place = torch.arange(len(classes), device=classes.device)
        lasting = edges[known + 1] - place <= self.capacity[known]
        position = self._position(known, self.written[known] + place - edges[known])
        position = position.where((classes < count) & lasting, len(self.rows) - 1)
        self.rows.index_copy_(0, position, rows[order].to(self.rows.dtype))
        self.written += edges.diff()

    def read(self, classes: Tensor, index: Tensor) -> Tensor:
        """Return rows of some classes.

        Args:
            classes: int64 (S,).
            index: Which rows of each, int64 (S, R); 0 is the oldest.

        Returns:
            float32 (S, R, D); an index beyond the queue's length gives some other row.
        """
        oldest = self.written - self.length
        known = classes.unsqueeze(1)
        position = self._position(known, oldest[known] + index)
        rows = self.rows.index_select(0, position.flatten())  # copies whole rows: faster than [...]
        return rows.float().view(*index.shape, self.rows.shape[1])

    def _position(self, classes: Tensor, number: Tensor) -> Tensor:
        return self._start[classes] + number % self.capacity[classes]
