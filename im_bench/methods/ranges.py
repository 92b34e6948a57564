"""What a search may try for a field of a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """Numbers that a search may try for a field.

    Attributes:
        low: The smallest.
        high: The largest.
        log: Whether orders of magnitude are equally likely.
    """

    low: float
    high: float
    log: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """Values that a search may try for a field."""

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """All of them, which have no order."""
        return self.values

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))
