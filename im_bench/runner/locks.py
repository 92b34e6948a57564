"""Locks that say who holds them and whether the holder still lives, on one machine or on several.

The holder writes a growing number into its lock every few seconds. A holder on the same machine is
looked up among the processes, so its death is known at once; one on another machine, or one that
was stopped (SIGSTOP), counts as dead when its number has stood still for some time by the
observer's own clock. Clocks of different machines are never compared. A holder that stands still is
killed before its lock is taken, so that it cannot wake up amid a write; a distant one that comes
back finds its lock taken, and writes nothing any more.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from im_bench.errors import ImBenchError
from im_bench.runner.owner import Owner


def _patience() -> float:
    text = os.environ.get("IM_BENCH_LOCK_PATIENCE", "45")
    with suppress(ValueError):
        if 0 < (seconds := float(text)) < math.inf:
            return seconds
    raise ImBenchError(f"IM_BENCH_LOCK_PATIENCE={text}: set it to seconds, or leave it out")


#: Without a sign of life for so long, a distant holder, or one that stands still, counts as dead.
#: All machines must agree on it; a network folder whose caches live longer needs more.
STALE_SECONDS = _patience()
HEARTBEAT_SECONDS = STALE_SECONDS / 9


@dataclass(frozen=True)
class _Seen:
    """A lock as it was found: its file, what stood there, and who holds it if that can be read."""

    inode: int
    text: str
    owner: Owner | None


def _look(path: Path) -> _Seen | None:
    """Read a lock, or return None if there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text, inode = file.read(), os.fstat(file.fileno()).st_ino
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        value = json.loads(text)
        owner = Owner(**{field.name: value[field.name] for field in fields(Owner)})
    except (ValueError, KeyError, TypeError):
        owner = None
    return _Seen(inode, text, owner)


class LockWatch:
    """Tells whether a lock's holder lives; must be asked repeatedly to see a distant one's death.

    Args:
        path: The lock's file.
        clock: Monotonic seconds.
        patience: Seconds without a heartbeat after which a distant holder counts as dead.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.monotonic,
        patience: float = STALE_SECONDS,
    ) -> None:
        self.path = path
        self._clock = clock
        self._patience = patience
        self._last: _Seen | None = None
        self._since = 0.0

    @property
    def owner(self) -> Owner | None:
        """Who held the lock when it was last looked at."""
        return self._last.owner if self._last else None

    def alive(self) -> bool:
        """Return whether somebody holds the lock who may still live."""
        seen = _look(self.path)
        if seen != self._last:
            self._last, self._since = seen, self._clock()
        if seen is None:
            return False
        if seen.owner is not None and seen.owner.is_here:
            if not seen.owner.lives:
                return False
            if not seen.owner.stands_still:
                return True
        return self._clock() - self._since < self._patience

    def wait_until_certain(self, pause: float = 0.2) -> bool:
        """Return `alive`, after watching for as long as it takes to be sure.

        That is no time for a holder that runs on this machine, and for another until its number
        changes or the patience is over.
        """
        alive = self.alive()
        first = self._last
        while alive and self._last == first and not self._runs_here():
            time.sleep(pause)
            alive = self.alive()
        return alive

    def _runs_here(self) -> bool:
        return bool(self.owner and self.owner.is_here and not self.owner.stands_still)

    def take(self, text: str) -> int | None:
        """Replace a lock that was found dead; return the new file's descriptor, or None if lost.

        Of several that try, one wins: they queue for the dead file itself, and whoever comes second
        finds that the name has passed to another file. A holder that only stands still is killed.
        """
        dead = self._last
        if dead is None:
            return _create(self.path, text)
        try:
            contested = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            return None
        new = self.path.with_name(f".lock.{uuid.uuid4().hex[:8]}.tmp")
        try:
            fcntl.flock(contested, fcntl.LOCK_EX)
            if os.fstat(contested).st_ino != dead.inode or _look(self.path) != dead:
                return None
            descriptor = _create(new, text)
            holder = dead.owner
            if descriptor is not None and holder and holder.is_here and not holder.end():
                os.close(descriptor)
                return None
            new.replace(self.path)
            return descriptor
        finally:
            os.close(contested)
            new.unlink(missing_ok=True)


def _create(path: Path, text: str) -> int | None:
    """Create a file with this text, or return None if there is one already."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return None
    try:
        os.pwrite(descriptor, text.encode(), 0)
        os.fsync(descriptor)
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return descriptor


class LockedError(Exception):
    """Somebody else holds the lock, and lives.

    Attributes:
        owner: Who, if it could be read.
    """

    def __init__(self, path: Path, owner: Owner | None) -> None:
        who = f"process {owner.pid} on {owner.host}" if owner else "somebody"
        super().__init__(f"{path} is held by {who}")
        self.owner = owner


class Lock:
    """Exclusive right to a folder while the block runs; goes over to others if the process dies.

    Args:
        path: The lock's file, in an existing folder.
        on_lost: Called once if another took the lock although this process lives, as can happen
            after the machine was suspended.
        heartbeat: Seconds between signs of life.
        patience: Seconds without a sign of life after which a distant holder counts as dead.

    Raises:
        LockedError: On entering, if a living process holds it.
        OSError: On entering, if the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        on_lost: Callable[[], None] | None = None,
        heartbeat: float = HEARTBEAT_SECONDS,
        patience: float = STALE_SECONDS,
    ) -> None:
        self.path = path
        self.owner = Owner.me()
        self._on_lost = on_lost
        self._heartbeat = heartbeat
        self._patience = patience
        self._released = threading.Event()
        self._beat = 0

    def __enter__(self) -> Self:
        watch = LockWatch(self.path, patience=self._patience)
        descriptor = None
        while descriptor is None:
            if watch.wait_until_certain(min(0.2, self._heartbeat)):
                raise LockedError(self.path, watch.owner)
            descriptor = watch.take(self._text())
        self._descriptor = descriptor
        self._thread = threading.Thread(target=self._live, name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._released.set()
        self._thread.join()
        if self.held:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _text(self) -> str:
        return json.dumps({**asdict(self.owner), "beat": self._beat}) + "\n"

    @property
    def held(self) -> bool:
        """Whether nobody has taken it over: ask before writing what must not be written twice."""
        try:
            return self.path.stat().st_ino == os.fstat(self._descriptor).st_ino
        except OSError:
            return False

    def _lost(self) -> bool:
        """Return whether the name has certainly passed on; a disk that fails says nothing of it."""
        try:
            return self.path.stat().st_ino != os.fstat(self._descriptor).st_ino
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def _live(self) -> None:
        while not self._released.wait(self._heartbeat):
            if self._lost():
                if self._on_lost:
                    self._on_lost()
                return
            self._beat += 1
            try:
                # Into the open file, never by name: the name may have passed to another.
                os.pwrite(self._descriptor, self._text().encode(), 0)
                os.fsync(self._descriptor)
            except OSError:
                continue  # A full disk; the file keeps its size, so this heals by itself.
