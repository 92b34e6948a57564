"""The curves of a training: one JSON object a line, on one axis of iterations."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from im_bench.files import sha256_json, write_text

Row = dict[str, float]


def append_rows(path: Path, rows: Iterable[Mapping[str, float]]) -> None:
    """Add rows; numbers that are not finite are left out."""
    lines = (
        json.dumps({name: value for name, value in row.items() if math.isfinite(value)})
        for row in rows
    )
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def read_rows(path: Path) -> list[Row]:
    """Return all rows up to one that is none: the last, cut short by a kill, or a damaged one."""
    rows: list[Row] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                break
            if not isinstance(row, dict) or not isinstance(row.get("iter"), int):
                break
            rows.append(row)
    return rows


def rows_hash(path: Path, iteration: int) -> str:
    """Return the SHA-256 of all rows up to an iteration."""
    return sha256_json([row for row in read_rows(path) if row["iter"] <= iteration])


def truncate_rows(path: Path, iteration: int) -> None:
    """Forget what came after ``iteration``, where a training resumes."""
    rows = [row for row in read_rows(path) if row["iter"] <= iteration]
    write_text(path, "".join(f"{json.dumps(row)}\n" for row in rows))
