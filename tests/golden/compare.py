"""Comparing what the library gives with what was recorded."""

from __future__ import annotations

import re
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


class Tolerance(NamedTuple):
    """How far a number may be from the recorded one: ``absolute + relative * |recorded|``."""

    relative: float
    absolute: float


EXACT = Tolerance(0, 0)
LOSSES = Tolerance(1e-4, 1e-7)
GRADIENTS = Tolerance(1e-3, 1e-7)


class Difference(NamedTuple):
    """How far one array is from the recorded one.

    Attributes:
        name: Of the array.
        largest: The largest absolute difference, or infinity where it is missing, has another shape
            or is not a number.
        excess: How far, at the worst, it exceeds what is allowed; 0 or less passes.
        relative: The tolerance. Both parts are 0 for masks, labels and counts.
        absolute: The tolerance.
    """

    name: str
    largest: float
    excess: float
    relative: float
    absolute: float

    @property
    def passes(self) -> bool:
        return self.excess <= 0

    def __str__(self) -> str:
        verdict = "" if self.passes else "  DIFFERS"
        allowed = f"{self.absolute:g} + {self.relative:g} of the value"
        return f"{self.name:<34} {self.largest:<9.3g} (allowed {allowed}){verdict}"


def load(path: Path) -> dict[str, NDArray]:
    """Return the arrays of a recording."""
    with np.load(path) as file:
        return dict(file)


def differences(
    recording: Recording,
    outputs: Outputs,
    tolerances: Mapping[str, Tolerance],
    floats: Tolerance = LOSSES,
) -> list[Difference]:
    """Compare every recorded output with the one that was computed.

    Args:
        recording: The arrays of an item.
        outputs: What was computed, under the same names.
        tolerances: Of single arrays, by name.
        floats: Of other floating-point arrays that are no gradients.
    """
    return [
        _difference(name, recorded, outputs.get(name), tolerances.get(name, floats))
        for name, recorded in recording.items()
        if re.search(r"(^|_)out_", name)  # not cutout_
    ]


def summary(found: list[Difference]) -> str:
    """Return one line about all arrays of an item."""
    worst = max(found, key=lambda each: each.largest)
    where = f" in {worst.name}" if worst.largest else ""
    passed = sum(each.passes for each in found)
    return f"{passed}/{len(found)} arrays agree, largest difference {worst.largest:.3g}{where}"


def _difference(
    name: str, recorded: NDArray, computed: ArrayLike | None, floats: Tolerance
) -> Difference:
    tolerance = floats
    if not np.issubdtype(recorded.dtype, np.floating):
        tolerance = EXACT
    elif "grad" in name:
        tolerance = GRADIENTS
    if computed is None or np.shape(computed) != recorded.shape:
        return Difference(name, np.inf, np.inf, *tolerance)
    computed, recorded = np.asarray(computed, np.float64), recorded.astype(np.float64)
    same = (computed == recorded) | (np.isnan(computed) & np.isnan(recorded))
    gaps = np.where(same, 0, np.nan_to_num(np.abs(computed - recorded), nan=np.inf))
    allowed = tolerance.absolute + tolerance.relative * np.nan_to_num(np.abs(recorded))
    return Difference(
        name, float(gaps.max(initial=0)), float((gaps - allowed).max(initial=-1)), *tolerance
    )
