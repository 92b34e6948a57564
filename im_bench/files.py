"""Atomic writes, JSON and hashes: whatever lies on disk is whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: The field with the hash of the others.
SEAL = "sha256"
# Made once: a plan of 100,000 cells asks for half a million hashes.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that becomes ``path`` when the block ends well.

    The block may create a file or a folder there. After an exception nothing is left. An existing
    file is replaced; an existing folder is removed just before the new one takes its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """Write a text file atomically.

    Args:
        path: The file.
        text: Its content.
        durable: Wait until the content is on the disk, so that a power cut cannot empty the file.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """Write ``value`` as readable JSON, as :func:`write_text`. Not-a-number is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n", durable)


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with the hash of its content, by which :func:`is_whole` knows it."""
    # Through JSON, so that it equals what is read back: keys are strings there.
    return {**value, SEAL: sha256_json(json.loads(json.dumps(value)))}


def is_whole(value: Mapping[str, Any]) -> bool:
    """Return whether a sealed object is as it was written. One without a seal counts as whole."""
    if SEAL not in value:
        return True
    content = {name: part for name, part in value.items() if name != SEAL}
    try:
        return bool(value[SEAL] == sha256_json(content))
    except ValueError:  # numbers that are none are not written
        return False


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON form of ``value`` (sorted keys, no blanks)."""
    return hashlib.sha256(_CANONICAL.encode(value).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
