"""Processes named so that others can tell whether they live."""

from __future__ import annotations

import os
import signal
import socket
import time
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from typing_extensions import Self


@dataclass(frozen=True)
class Owner:
    """Who holds a lock.

    Attributes:
        host: Name of the machine.
        realm: Tells apart machines of one name, restarts of a machine, and containers, within which
            alone process numbers mean something.
        pid: Process number.
        start: Start time of the process in the machine's own ticks: numbers are used again.
        token: Different for every taking of a lock.
    """

    host: str
    realm: str
    pid: int
    start: int
    token: str

    @classmethod
    def me(cls) -> Self:
        """Return this process, with a fresh token."""
        return cls(
            socket.gethostname(), _realm(), os.getpid(), _start(os.getpid()), uuid.uuid4().hex
        )

    @property
    def is_here(self) -> bool:
        """Whether its process can be looked up from here."""
        return (self.host, self.realm) == (socket.gethostname(), _realm())

    @property
    def stands_still(self) -> bool:
        """Whether the process is stopped, as by Ctrl-Z. Meaningless unless it is here."""
        return process_state(self.pid) in ("T", "t")

    @property
    def lives(self) -> bool:
        """Whether the process exists. Meaningless unless it is here."""
        return _start(self.pid) == self.start != -1

    def end(self, patience: float = 5.0) -> bool:
        """Kill the process if it stands still, and return whether it can do nothing any more.

        Where that is not permitted, it can; but then nothing else helps either.
        """
        if self.lives and self.stands_still:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except PermissionError:
                return True
            except ProcessLookupError:
                pass
            deadline = time.monotonic() + patience
            while self.lives and time.monotonic() < deadline:
                time.sleep(0.001)
        return not self.lives


@cache
def _realm() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def process_state(pid: int) -> str:
    """Return the letter by which the system tells a process' state, or an empty string."""
    try:
        return _stat(pid)[0]
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    # The name in parentheses may itself hold blanks and parentheses.
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return stat.rpartition(")")[2].split()


def _start(pid: int) -> int:
    """Return when a process started, 0 where the system does not tell, -1 if there is none."""
    try:
        state, *rest = _stat(pid)
        return -1 if state in "ZX" else int(rest[18])
    except OSError:
        if Path("/proc/self/stat").exists():
            return -1
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return -1
    except PermissionError:
        pass
    return 0
