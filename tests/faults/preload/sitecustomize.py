"""Faults at the boundary to the operating system, in every process that a campaign starts.

Python imports this module first, in the runner, in the server from which stages are forked and in
the mirror. ``FAULTS_RULES`` is a JSON list of rules; each names what a process does (``open`` for
writing, ``write`` into an open lock, ``sync``, ``rename``), a regular expression for the file's
name, how many such calls pass, how many are hit then, and what happens to these: an error number,
``kill`` or ``stop``. Calls are counted over all processes, in files beside ``FAULTS_MARK``, which
are also the proof that a fault took place. ``FAULTS_CLOCK`` names a file with the seconds by which
the wall clock is wrong.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import sys
import time
from typing import Any

_RULES: list[dict[str, Any]] = json.loads(os.environ.get("FAULTS_RULES", "[]"))
_MARK = os.environ.get("FAULTS_MARK", "")
_CLOCK = os.environ.get("FAULTS_CLOCK", "")


def _meet(what: str, path: Any) -> None:
    """Let a call on a file pass, or not."""
    try:
        name = os.path.basename(os.fsdecode(path))  # noqa: PTH119 - pathlib is not loaded yet
    except TypeError:
        return  # a descriptor
    for number, rule in enumerate(_RULES):
        if rule["what"] != what or not re.fullmatch(rule["name"], name):
            continue
        turn = _turn(number)
        if rule["after"] <= turn < rule["after"] + rule["times"]:
            _strike(rule["action"], name)


def _turn(number: int) -> int:
    """Return how many calls of all processes have met a rule before this one."""
    turn = 0
    while True:
        try:
            os.close(os.open(f"{_MARK}.{number}.{turn}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            turn += 1
        else:
            return turn


def _strike(action: str, name: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        number = getattr(errno, action)
        raise OSError(number, os.strerror(number), name)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        path, _, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR):
            _meet("open", path)
    elif event == "os.rename":
        _meet("rename", arguments[1])


def _named(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115


if _RULES:
    _sync, _write = os.fsync, os.pwrite

    def fsync(descriptor: int) -> None:
        """Write to the disk, unless a rule forbids it."""
        _meet("sync", _named(descriptor))
        _sync(descriptor)

    def pwrite(descriptor: int, text: bytes, offset: int) -> int:
        """Write into an open file, unless a rule forbids it."""
        _meet("write", _named(descriptor))
        return _write(descriptor, text, offset)

    os.fsync, os.pwrite = fsync, pwrite  # type: ignore[assignment]
    sys.addaudithook(_audit)

if _CLOCK:
    _time = time.time

    def wrong_time() -> float:
        """Return what the wall clock shows."""
        with open(_CLOCK) as file:  # noqa: PTH123
            return _time() + float(file.read())

    time.time = wrong_time
