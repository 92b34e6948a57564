"""The numbers that papers report, each with its source: beside ours, never instead of them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from im_bench.errors import ImBenchError

#: The tables that come with the repository.
BUILT_IN = Path(__file__).resolve().parents[2] / "benchmarks" / "reference"

Text = Annotated[str, Field(min_length=1)]


class ReportedNumber(BaseModel):
    """One number of one paper. What a source does not say is empty, not guessed.

    Attributes:
        method: The method's name in suites.
        variant: In what it differs from the method as published; empty for that itself.
        data: The data set, as ``reference`` in suites names it.
        family: Which lists of labelled images; numbers of two families are not comparable.
        split: Which of them, such as ``1/16`` or ``92``; ``all`` for training with all labels.
        metric: Such as ``iou``.
        value: As printed, in ``unit``.
        unit: ``%``, ``cells`` or ``voxels``.
        backbone: Such as ``ResNet-50``.
        crop: Side of the training crops, in pixels, or their sides.
        output_stride: Of the encoder.
        evaluation: How images pass through the network.
        selection: Which network of a training the number is of.
        generation: Of self-training, where the number is of one of several.
        approximate: Whether the number was read from a figure.
        source: Where the number stands, in words.
        url: And where to find that.
        notes: What else a reader should know; several are separated by semicolons.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Text
    variant: str = ""
    data: Text
    family: str = ""
    split: Text
    metric: Text
    value: float = Field(allow_inf_nan=False)
    unit: Literal["%", "cells", "voxels"]
    backbone: str = ""
    crop: str = ""
    output_stride: str = ""
    evaluation: str = ""
    selection: str = ""
    generation: str = ""
    approximate: bool = False
    source: Text
    url: Annotated[str, Field(pattern=r"^https?://")]
    notes: str = ""

    @property
    def score(self) -> float:
        """The value as our metrics give it: shares as fractions, counts as they are."""
        return self.value / 100 if self.unit == "%" else self.value

    @property
    def protocol(self) -> str:
        """What must be alike for a fair comparison, as far as the source says it."""
        said = {
            "backbone": self.backbone,
            "split family": self.family,
            "crop": self.crop,
            "output stride": self.output_stride,
            "evaluation": self.evaluation,
            "selection": self.selection,
        }
        return ", ".join(f"{name} {value}" for name, value in said.items() if value)

    @property
    def identity(self) -> tuple[str, ...]:
        """What no two numbers have in common."""
        fields = self.model_dump(mode="json", exclude={"value", "unit", "url", "notes"})
        return tuple(map(str, fields.values()))


References = Sequence[ReportedNumber]


def load_references(path: Path = BUILT_IN) -> tuple[ReportedNumber, ...]:
    """Read reported numbers.

    Args:
        path: A CSV file with the fields of :class:`ReportedNumber` as columns, or a folder of such.

    Raises:
        ImBenchError: If there is no such file, a row is wrong, or a number stands there twice.
    """
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    numbers: dict[tuple[str, ...], ReportedNumber] = {}
    for file in files:
        for line, number in _rows(file):
            if number.identity in numbers:
                raise ImBenchError(
                    f"{file}, line {line}: {number.method} on {number.data} {number.split} stands "
                    "there a second time under the same protocol; keep one of the rows"
                )
            numbers[number.identity] = number
    return tuple(numbers.values())


def _rows(file: Path) -> Iterator[tuple[int, ReportedNumber]]:
    try:
        with file.open(encoding="utf-8", newline="") as text:
            reader = csv.DictReader(text, strict=True)
            for row in reader:
                yield reader.line_num, _number(row, file, reader.line_num)
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
