"""Comparing what the library gives with what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

Recording = Mapping[str, NDArray]
Outputs = Mapping[str, ArrayLike]
Adapter = Callable[[Recording], Outputs]

PROPERTY = "golden"
FLOAT_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Difference:
    """How far one array is from the recorded one.

    Attributes:
        name: Of the array.
        largest: The largest absolute difference, or infinity where shapes differ or it is missing.
        tolerance: The largest that passes; 0 for masks, labels and counts.
    """

    name: str
    largest: float
    tolerance: float

    @property
    def passes(self) -> bool:
        return self.largest <= self.tolerance

    def __str__(self) -> str:
        verdict = "ok" if self.passes else "DIFFERS"
        return f"{self.name:<34} {self.largest:<10.3g} (allowed {self.tolerance:g})  {verdict}"


def load(path: Path) -> dict[str, NDArray]:
    """Return the arrays of a recording."""
    with np.load(path) as file:
        return dict(file)


def differences(
    recording: Recording, outputs: Outputs, tolerances: Mapping[str, float]
) -> list[Difference]:
    """Compare every recorded output; one that was not computed differs infinitely."""
    return [
        Difference(
            name, _largest(expected, outputs.get(name)), _tolerance(expected, name, tolerances)
        )
        for name, expected in recording.items()
        if "out_" in name
    ]


def _largest(expected: NDArray, value: ArrayLike | None) -> float:
    if value is None or np.shape(value) != expected.shape:
        return np.inf
    gaps = np.abs(np.asarray(value, np.float64) - expected.astype(np.float64))
    return float(gaps.max(initial=0)) if not np.isnan(gaps).any() else np.inf


def _tolerance(expected: NDArray, name: str, tolerances: Mapping[str, float]) -> float:
    exact = not np.issubdtype(expected.dtype, np.floating)
    return 0.0 if exact else tolerances.get(name, FLOAT_TOLERANCE)
