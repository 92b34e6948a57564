"""Says in one sentence why a stage failed, and what to do about it."""

from __future__ import annotations

import errno
import shutil
import signal
import traceback
from collections.abc import Iterator
from pathlib import Path

from im_bench.errors import ImBenchError

#: Characters of a traceback that are kept; its end says the most.
TRACEBACK_LIMIT = 20_000

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def explain(error: BaseException, folder: Path) -> str:
    """Return one sentence about an error that ended a stage.

    Args:
        error: What was raised.
        folder: The stage's folder.
    """
    if isinstance(error, ImBenchError):
        return str(error)
    chain = list(_chain(error))
    numbers = {link.errno for link in chain if isinstance(link, OSError)}
    if numbers & _FULL or _is_full(folder):
        return _full(folder)
    if numbers & _FORBIDDEN:
        return f"no permission: {error}: give it, or choose another folder with --out"
    if any(map(_is_cuda_memory, chain)):
        return f"the GPU has too little memory: reduce batch or size ({_first_line(error)})"
    if any(isinstance(link, MemoryError) or "can't allocate memory" in str(link) for link in chain):
        return "the machine has too little memory: reduce batch or size, or run with fewer --slots"
    return f"{type(error).__name__}: {_first_line(error)}"


def explain_exit(code: int, folder: Path) -> str:
    """Return one sentence about a stage's process that ended without leaving an error.

    Args:
        code: Its exit status; negative is the signal that killed it.
        folder: The stage's folder.
    """
    if _is_full(folder):
        return _full(folder)
    if code >= 0:
        return f"its process ended with status {code} and could not say why: see log.txt"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
    why = {
        signal.SIGKILL: "probably out of memory: reduce batch or size, or run with fewer --slots",
        signal.SIGSEGV: "a crash in native code: log.txt says where",
        signal.SIGBUS: "a crash in native code, or a full disk under a memory-mapped file",
    }.get(-code, "see log.txt")  # type: ignore[call-overload]
    return f"killed by signal {-code} ({name}); {why}"


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


def _full(folder: Path) -> str:
    return f"the disk that holds {folder} is full: make room, then run again"


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), "no further message")
