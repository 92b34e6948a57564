"""Reads what W&B writes offline: a LevelDB log of protobuf records.

A file begins with seven bytes (``:W&B``, a magic number, a version). Blocks of 32768 bytes hold
records of a header (CRC-32 of kind and data, length, kind; little-endian) and data. A record that
does not fit into its block is cut into first, middle and last parts; fewer than seven bytes at the
end of a block are padding.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 32768
HEADER = struct.Struct("<IHB")
FULL, LAST = 1, 4


@dataclass
class OfflineRun:
    """One offline folder."""

    folder: Path
    id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    project: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    metrics: dict[str, str] = field(default_factory=dict)
    artifacts: list[Any] = field(default_factory=list)
    resume: bool = False


def payloads(content: bytes) -> Iterator[bytes]:
    """Yield whole records; stop quietly at a tail that is cut off."""
    if not content.startswith(b":W&B"):
        raise ValueError("not a W&B file")
    at, parts = 7, b""
    while at + HEADER.size <= len(content):
        room = BLOCK - at % BLOCK
        if room < HEADER.size:
            at += room
            continue
        crc, size, kind = HEADER.unpack_from(content, at)
        data = content[at + HEADER.size : at + HEADER.size + size]
        if len(data) < size:
            return
        if zlib.crc32(data, zlib.crc32(bytes([kind]))) != crc:
            raise ValueError(f"wrong checksum at byte {at}")
        at += HEADER.size + size
        parts += data
        if kind in (FULL, LAST):
            yield parts
            parts = b""


def _items(items: Any) -> dict[str, Any]:
    """Return keys and values; a nested key ``a, b`` becomes ``{"a": {"b": ...}}``."""
    found: dict[str, Any] = {}
    for item in items:
        *outer, last = item.nested_key or [item.key]
        place = found
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = json.loads(item.value_json)
    return found


def read_run(folder: Path) -> OfflineRun:
    """Read one offline folder."""
    run = OfflineRun(folder)
    for payload in payloads(next(folder.glob("*.wandb")).read_bytes()):
        record = Record()
        record.ParseFromString(payload)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.id, run.name = record.run.run_id, record.run.display_name
            run.group, run.job_type = record.run.run_group, record.run.job_type
            run.project, run.tags = record.run.project, list(record.run.tags)
            run.config.update(_items(record.run.config.update))
            run.resume = record.run.resume
        elif kind == "config":
            run.config.update(_items(record.config.update))
        elif kind == "artifact":
            run.artifacts.append(record.artifact)
        elif kind == "history":
            run.history.append(_items(record.history.item))
        elif kind == "summary":
            run.summary.update(_items(record.summary.update))
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
        elif kind == "metric":
            run.metrics[record.metric.name or record.metric.glob_name] = record.metric.step_metric
    return run


def read_runs(out: Path) -> list[OfflineRun]:
    """Read all offline folders of a results folder, oldest first; one that was killed is empty."""
    folders = sorted((out / "wandb").glob("offline-run-*"), key=lambda path: path.stat().st_ctime)
    return [read_run(folder) for folder in folders if any(folder.glob("*.wandb"))]


def read_tables(run: OfflineRun, name: str) -> list[list[dict[str, Any]]]:
    """Read all versions of a table that a run has logged: the rows of each."""
    found = []
    for logged in (row[name] for row in run.history if name in row):
        table = json.loads((run.folder / "files" / logged["path"]).read_text())
        found.append([dict(zip(table["columns"], row, strict=True)) for row in table["data"]])
    return found
