"""The logs of stages: which one matters, its end, and what is added to it."""

from __future__ import annotations

import codecs
import os
import time
from collections.abc import Iterator
from pathlib import Path

from im_bench.runner.folder import Status
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage

_BLOCK = 1 << 16


def stages_with_log(stages: list[Stage], store: Store) -> list[Stage]:
    """Return those of the stages that have a log, the one that matters most first.

    Running ones go before failed ones, these before all others, and among equals the one whose log
    was written last.
    """
    order = {Status.RUNNING: 0, Status.FAILED: 1}
    found: list[tuple[int, float, int, Stage]] = []
    for stage in store.existing(stages):
        try:
            written = store.folder(stage).log.stat().st_mtime
        except OSError:
            continue
        found.append((order.get(store.status(stage), 2), -written, len(found), stage))
    return [stage for *_, stage in sorted(found, key=lambda one: one[:3])]


def last_lines(path: Path, count: int) -> tuple[str, int]:
    """Return the last lines of a file, and the position in bytes at which it ended.

    Args:
        path: The file; only its end is read.
        count: How many lines at most.
    """
    with path.open("rb") as file:
        end = position = file.seek(0, os.SEEK_END)
        tail = b""
        # The line end that closes the last line begins no further one.
        while position and tail.count(b"\n", 0, len(tail) - 1) < count:
            step = min(_BLOCK, position)
            position -= step
            file.seek(position)
            tail = file.read(step) + tail
    lines = tail.splitlines(keepends=True)[-count:] if count else []
    return b"".join(lines).decode("utf-8", "replace"), end


def follow(stage: Stage, store: Store, position: int, pause: float = 0.5) -> Iterator[str]:
    """Give what is added to a stage's log, as it comes, until nobody runs the stage any more.

    Args:
        stage: Whose log.
        store: Where it lies.
        position: The first byte that is wanted.
        pause: Seconds between two looks.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    log = store.folder(stage).log
    while True:
        # Asked before the last reading: what was written until then is in the file.
        over = store.status(stage) is not Status.RUNNING
        while new := _read(log, position):
            position += len(new)
            if text := decoder.decode(new):
                yield text
        if over:
            return
        time.sleep(pause)


def _read(path: Path, position: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(position)
            return file.read(_BLOCK)
    except FileNotFoundError:  # Somebody has discarded the stage.
        return b""
