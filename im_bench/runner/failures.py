"""Why a stage failed: the kind of cause, and one sentence about it and what to do."""

from __future__ import annotations

import errno
import shutil
import signal
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from im_bench.errors import ImBenchError

#: Characters of a traceback that are kept; its end says the most.
TRACEBACK_LIMIT = 20_000

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class Cause(str, Enum):
    """Kinds of causes, by what helps against them."""

    INPUT = "input"  # the user must mend something
    TIME = "time"  # more time, or less work
    MEMORY = "memory"  # more memory, or the machine for itself
    DISK = "disk"  # room, or permission
    DEATH = "death"  # the process ended without a word
    ERROR = "error"  # anything else that was raised

    @property
    def may_pass(self) -> bool:
        """Whether another attempt may go better though nobody mends anything."""
        return self not in (Cause.INPUT, Cause.TIME)


@dataclass(frozen=True)
class Failure:
    """Why a stage failed.

    Attributes:
        cause: The kind of cause.
        message: One sentence for people.
    """

    cause: Cause
    message: str


def explain(error: BaseException, folder: Path) -> Failure:
    """Return why an error ended a stage.

    Args:
        error: What was raised.
        folder: The stage's folder.
    """
    if isinstance(error, ImBenchError):
        return Failure(Cause.INPUT, str(error))
    chain = list(_chain(error))
    numbers = {link.errno for link in chain if isinstance(link, OSError)}
    if numbers & _FULL or _is_full(folder):
        return _full(folder)
    if numbers & _FORBIDDEN:
        return Failure(
            Cause.DISK, f"no permission: {error}: give it, or choose another folder with --out"
        )
    if any(map(_is_cuda_memory, chain)):
        return Failure(
            Cause.MEMORY,
            f"the GPU has too little memory: reduce batch or size ({_first_line(error)})",
        )
    if any(isinstance(link, MemoryError) or "can't allocate memory" in str(link) for link in chain):
        return Failure(
            Cause.MEMORY,
            "the machine has too little memory: reduce batch or size, or run with fewer --slots",
        )
    return Failure(Cause.ERROR, f"{type(error).__name__}: {_first_line(error)}")


def explain_exit(code: int, folder: Path, short_of_memory: bool = False) -> Failure:
    """Return why a stage's process ended without leaving an error.

    Args:
        code: Its exit status; negative is the signal that killed it.
        folder: The stage's folder.
        short_of_memory: Whether the system has killed processes to regain memory meanwhile.
    """
    if _is_full(folder):
        return _full(folder)
    if code >= 0:
        return Failure(
            Cause.DEATH, f"its process ended with status {code} and could not say why: see log.txt"
        )
    name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
    if code == -signal.SIGKILL and short_of_memory:
        return Failure(
            Cause.MEMORY,
            f"killed by signal {-code} ({name}): the machine ran out of memory: reduce batch or "
            "size, or run with fewer --slots",
        )
    why = {
        signal.SIGKILL: "by somebody, or by a limit of memory that this machine does not report",
        signal.SIGSEGV: "a crash in native code: log.txt says where",
        signal.SIGBUS: "a crash in native code, or a full disk under a memory-mapped file",
    }.get(-code, "see log.txt")  # type: ignore[call-overload]
    return Failure(Cause.DEATH, f"killed by signal {-code} ({name}); {why}")


def overran(minutes: float, stopped: bool) -> Failure:
    """Return the failure of a stage that took longer than it may.

    Args:
        minutes: Its limit.
        stopped: Whether it stopped when it was asked, at a point from which it can go on.
    """
    how = "stopped at its last checkpoint" if stopped else "did not stop when asked, and was ended"
    return Failure(
        Cause.TIME,
        f"took longer than its limit of {minutes:g} minutes, and {how}: allow more with "
        "--time-limit or the suite's `resources`, then --policy retry-failed goes on from there",
    )


def oom_kills() -> int:
    """Return how many processes this machine has killed to regain memory since it started."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    counts = (line.split()[1] for line in lines if line.startswith("oom_kill "))
    return int(next(counts, 0))


def bounded_traceback(error: BaseException) -> str:
    """Return the traceback, or the last part of a very long one."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return text if len(text) <= TRACEBACK_LIMIT else "...\n" + text[-TRACEBACK_LIMIT:]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error and those that led to it."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_cuda_memory(error: BaseException) -> bool:
    # By name: torch need not be loaded here.
    return type(error).__name__ == "OutOfMemoryError" or "CUDA out of memory" in str(error)


def _is_full(folder: Path) -> bool:
    """Whether hardly a byte is left: some libraries do not pass on the operating system's error."""
    try:
        return shutil.disk_usage(folder).free < 1 << 16
    except OSError:
        return False


def _full(folder: Path) -> Failure:
    return Failure(Cause.DISK, f"the disk that holds {folder} is full: make room, then run again")


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), "no further message")
