"""Writing prepared files, and saying it plainly where that fails."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from im_bench.data.prepare.recipe import Image
from im_bench.errors import ImBenchError
from im_bench.files import atomic_path

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def explained_write_errors(folder: Path) -> Iterator[None]:
    """Turn an error of the operating system into one sentence about ``folder``.

    Raises:
        ImBenchError: The disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL_DISK:
            raise ImBenchError(
                f"there is no room left to write {folder} ({reason}): free some space and run the "
                f"same command again, what is finished is kept"
            ) from error
        raise ImBenchError(
            f"{error.filename or folder} cannot be read or written ({reason}): "
            f"mend its permissions, or give another folder"
        ) from error


def write_png(path: Path, pixels: Image) -> tuple[int, str]:
    """Write a PNG file atomically; return its size in bytes and its SHA-256."""
    content = cv2.imencode(".png", pixels)[1].tobytes()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return len(content), hashlib.sha256(content).hexdigest()


def remove_others(folder: Path, keep: Container[str]) -> None:
    """Remove images and labels that an earlier, interrupted preparation of other data left.

    Args:
        folder: The data set.
        keep: The paths, relative to ``folder``, of what belongs to it.
    """
    for path in (*folder.glob("images/*/*"), *folder.glob("labels/*/*")):
        if path.relative_to(folder).as_posix() not in keep:
            path.unlink()


def remove_torn_files(folder: Path) -> None:
    """Remove the temporary files that a killed process left."""
    for torn in folder.rglob(".*.tmp"):
        torn.unlink()
