"""The numbers that papers report, each with its source: beside ours, never instead of them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from im_bench.errors import ImBenchError

#: The tables that come with the repository.
BUILT_IN = Path(__file__).resolve().parents[2] / "benchmarks" / "reference"

Text = Annotated[str, Field(min_length=1)]


class ReportedNumber(BaseModel):
    """One number of one paper.

    Attributes:
        method: The method's name in suites.
        data: The data set's name in ``reference`` fields of suites.
        labelled: Share of the training images whose labels are used.
        metric: Such as ``iou``.
        value: As printed, in ``unit``.
        unit: ``%`` or ``cells``.
        source: Where the number stands, in words.
        url: And where to find that.
        protocol: What must be alike for a fair comparison.
        notes: What else a reader should know.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Text
    data: Text
    labelled: float = Field(gt=0, le=1)
    metric: Text
    value: float = Field(allow_inf_nan=False)
    unit: Literal["%", "cells"]
    source: Text
    url: Annotated[str, Field(pattern=r"^https?://")]
    protocol: Text
    notes: str = ""

    @property
    def score(self) -> float:
        """The value as our metrics give it: shares as fractions, counts as they are."""
        return self.value / 100 if self.unit == "%" else self.value


References = Mapping[tuple[str, str], ReportedNumber]


def load_references(path: Path = BUILT_IN) -> dict[tuple[str, str], ReportedNumber]:
    """Read reported numbers.

    Args:
        path: A CSV file with the fields of :class:`ReportedNumber` as columns, or a folder of such.

    Returns:
        The numbers by (data set, method).

    Raises:
        ImBenchError: If there is no such file, a row is wrong, or a number stands there twice.
    """
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    numbers: dict[tuple[str, str], ReportedNumber] = {}
    for file in files:
        for line, number in _rows(file):
            key = (number.data, number.method)
            if key in numbers:
                raise ImBenchError(
                    f"{file}, line {line}: {number.method} on {number.data} stands there a second "
                    "time; keep one of the rows"
                )
            numbers[key] = number
    return numbers


def _rows(file: Path) -> list[tuple[int, ReportedNumber]]:
    try:
        with file.open(encoding="utf-8", newline="") as text:
            reader = csv.DictReader(text, strict=True)
            return [(reader.line_num, _number(row, file, reader.line_num)) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImBenchError(f"cannot read the reported numbers in {file}: {error}") from None


def _number(row: Mapping[str | None, object], file: Path, line: int) -> ReportedNumber:
    if None in row:
        raise ImBenchError(
            f"{file}, line {line}: more fields than columns; put quotes around text with commas"
        )
    try:
        return ReportedNumber.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        raise ImBenchError(
            f"{file}, line {line}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from None
