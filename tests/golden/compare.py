"""Comparing what the library gives with what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Recording = Mapping[str, NDArray]
Outputs = Mapping[str, ArrayLike]
Adapter = Callable[[Recording], Outputs]

# Names of properties of test reports.
DIFFERENCES = "golden differences"
NOT_COVERED = "golden items not covered"

FLOAT_TOLERANCE = 1e-6


class Difference(NamedTuple):
    """How far one array is from the recorded one.

    Attributes:
        name: Of the array.
        largest: The largest absolute difference, or infinity where it is missing, has another shape
            or is not a number.
        tolerance: The largest that passes; 0 for masks, labels and counts.
    """

    name: str
    largest: float
    tolerance: float

    @property
    def passes(self) -> bool:
        return self.largest <= self.tolerance

    def __str__(self) -> str:
        verdict = "" if self.passes else "  DIFFERS"
        return f"{self.name:<34} {self.largest:<9.3g} (allowed {self.tolerance:g}){verdict}"


def load(path: Path) -> dict[str, NDArray]:
    """Return the arrays of a recording."""
    with np.load(path) as file:
        return dict(file)


def differences(
    recording: Recording, outputs: Outputs, tolerances: Mapping[str, float]
) -> list[Difference]:
    """Compare every recorded output with the one that was computed."""
    return [
        Difference(
            name, _largest(recorded, outputs.get(name)), _tolerance(name, recorded, tolerances)
        )
        for name, recorded in recording.items()
        if "out_" in name
    ]


def summary(found: list[Difference]) -> str:
    """Return one line about all arrays of an item."""
    worst = max(found, key=lambda each: each.largest)
    where = f" in {worst.name}" if worst.largest else ""
    passed = sum(each.passes for each in found)
    return f"{passed}/{len(found)} arrays agree, largest difference {worst.largest:.3g}{where}"


def _largest(recorded: NDArray, computed: ArrayLike | None) -> float:
    if computed is None or np.shape(computed) != recorded.shape:
        return np.inf
    gaps = np.abs(np.asarray(computed, np.float64) - recorded.astype(np.float64))
    return float(np.nan_to_num(gaps, nan=np.inf).max(initial=0))


def _tolerance(name: str, recorded: NDArray, tolerances: Mapping[str, float]) -> float:
    if not np.issubdtype(recorded.dtype, np.floating):
        return 0.0
    return tolerances.get(name, FLOAT_TOLERANCE)
