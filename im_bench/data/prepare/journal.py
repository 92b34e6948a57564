"""What an unfinished preparation has finished, so that it can continue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

Files = dict[str, tuple[int, str]]
"""Size in bytes and SHA-256 of files, by path relative to the data set's folder."""


class Journal:
    """An append-only file: a header that says what is prepared, then one line per raw image.

    A line is written after the files that it names. A line torn by a crash is ignored, so is one
    whose raw files have changed since, and so is a whole journal with another header.

    Args:
        path: The journal, in the folder of the data set.
        header: How images are prepared.
        marks: For each raw image, what changes when its files do.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], marks: Mapping[str, str]) -> None:
        self._path = path
        self._marks = marks
        self._header = json.dumps(header, sort_keys=True)
        self._file: TextIO | None = None
        self.finished: dict[str, Files] = self._read()

    def _read(self) -> dict[str, Files]:
        if not self._path.is_file():
            return {}
        header, *lines = self._path.read_text(encoding="utf-8").split("\n")
        if header != self._header:
            return {}
        finished: dict[str, Files] = {}
        for line in lines:
            try:
                sample, mark, files = json.loads(line)
            except ValueError:
                continue
            if mark == self._marks.get(sample):
                finished[sample] = {path: (size, digest) for path, (size, digest) in files.items()}
        return {sample: files for sample, files in finished.items() if self._are_there(files)}

    def _are_there(self, files: Files) -> bool:
        sizes = ((self._path.parent / path, size) for path, (size, _) in files.items())
        return all(path.is_file() and path.stat().st_size == size for path, size in sizes)

    def __enter__(self) -> Journal:
        """Open for appending, beginning anew with the lines that still hold."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w", encoding="utf-8")
        self._file.write(self._header + "\n")
        for sample, files in self.finished.items():
            self._write(sample, files)
        return self

    def add(self, sample: str, files: Files) -> None:
        """Record that all files of a raw image are written."""
        self.finished[sample] = files
        self._write(sample, files)

    def _write(self, sample: str, files: Files) -> None:
        assert self._file is not None, "use the journal in a with statement"  # noqa: S101
        self._file.write(json.dumps([sample, self._marks[sample], files]) + "\n")
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        """Close the file; the journal stays until the caller removes it."""
        if self._file is not None:
            self._file.close()
