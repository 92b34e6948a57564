from __future__ import annotations

import math
from pathlib import Path

from im_bench.training.scalars import append_rows, read_rows, truncate_rows


def test_rows_come_back_without_numbers_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    assert read_rows(path) == []
    append_rows(path, [{"iter": 1, "train/loss": 0.5}])
    append_rows(path, [{"iter": 2, "val/iou": math.nan, "val/dice": 0.25}])
    assert read_rows(path) == [{"iter": 1, "train/loss": 0.5}, {"iter": 2, "val/dice": 0.25}]


def test_truncating_forgets_later_rows_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    append_rows(path, [{"iter": iteration, "train/loss": 1.0} for iteration in range(1, 6)])
    with path.open("a") as file:
        file.write('{"iter": 6, "train/l')
    assert len(read_rows(path)) == 5
    truncate_rows(path, 3)
    append_rows(path, [{"iter": 4, "train/loss": 2.0}])
    assert [row["iter"] for row in read_rows(path)] == [1, 2, 3, 4]


def test_truncating_nothing_makes_an_empty_file(tmp_path: Path) -> None:
    truncate_rows(tmp_path / "scalars.jsonl", 0)
    assert read_rows(tmp_path / "scalars.jsonl") == []
