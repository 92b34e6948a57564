"""What may be removed of a results folder: nothing that any suite may still want."""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from im_bench.errors import ImBenchError
from im_bench.runner.folder import StageFolder
from im_bench.runner.job import SCRATCH
from im_bench.runner.locks import LockedError, LockWatch
from im_bench.runner.store import Store
from im_bench.runner.unwanted import unwanted_stages

#: A write lasts seconds; a temporary file that is older than this is what a killed one has left.
OLD_SECONDS = 3600.0

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


class Kind(str, Enum):
    """Kinds of garbage."""

    STAGE = "stage"
    SCRATCH = "scratch"
    TEMPORARY = "temporary"


@dataclass(frozen=True)
class Garbage:
    """Something that may be removed.

    Attributes:
        kind: What it is.
        path: Of the file or folder.
        folder: The stage's folder in which it lies, or that it is; None outside of them.
        size: Bytes.
    """

    kind: Kind
    path: Path
    folder: StageFolder | None
    size: int


@dataclass
class Survey:
    """What was found in a results folder.

    Attributes:
        garbage: What may be removed.
        kept: A sentence about each group that was kept although no suite wants it.
    """

    garbage: list[Garbage] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def survey(store: Store, suites: Collection[Path], data_root: Path) -> Survey:
    """Look for what may be removed. Symbolic links are not followed.

    A stage's folder is garbage if no suite refers to it: neither the given ones, nor those that
    were run into this folder as far as it remembers, nor the built-in ones; under any budget, and
    with any seed for which there are results. Without given suites no stage's folder is garbage.

    Args:
        store: The results folder.
        suites: Files of the suites whose other stages are garbage.
        data_root: Where prepared data sets lie. Without its data a suite's stages cannot be named,
            so all stages of that data set are kept.

    Raises:
        ImBenchError: If a suite is wrong or gone, or the folder of stages is a link.
    """
    if store.stages.is_symlink():
        raise ImBenchError(
            f"{store.stages} is a link, which is not followed: give the folder above "
            f"{store.stages.resolve()} with --out"
        )
    found = Survey()
    folders: dict[str, StageFolder] = {}
    temporaries: list[tuple[Path, StageFolder | None]] = []
    for path, inside, temporary in _scan(store.stages):
        if temporary:
            temporaries.append((path, inside))
        elif inside is not None:
            folders[path.relative_to(store.stages).as_posix()] = inside
    unwanted = set[str]()
    if suites:
        unwanted, found.kept = unwanted_stages(store, folders, suites, data_root)
    busy = _busy(folders.values())
    if locked := [name for name in unwanted if folders[name] in busy]:
        found.kept.append(f"{len(locked)} stages that a living process may hold")
    for name, folder in folders.items():
        if folder in busy:
            continue
        if name in unwanted:
            found.garbage.append(Garbage(Kind.STAGE, folder.path, folder, size_of(folder.path)))
        elif _is_folder(folder.path / SCRATCH) and folder.result() is not None:
            path = folder.path / SCRATCH
            found.garbage.append(Garbage(Kind.SCRATCH, path, folder, size_of(path)))
    gone = {one.path for one in found.garbage}
    for path, inside in temporaries:
        if inside in busy or not gone.isdisjoint(path.parents) or not _is_old(path):
            continue
        found.garbage.append(Garbage(Kind.TEMPORARY, path, inside, size_of(path)))
    return found


def remove(garbage: Garbage) -> str:
    """Remove something, and return an empty string, or why it is still there."""
    try:
        if garbage.path.is_symlink():
            return f"{garbage.path} is a link now"
        if garbage.folder is None:
            _delete(garbage.path)
            return ""
        with garbage.folder.lock():
            if garbage.kind is Kind.STAGE:
                # Under another name first: a kill amid this leaves no stage that looks whole.
                path = garbage.path
                doomed = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
                _delete(path.rename(doomed))
            elif garbage.kind is Kind.TEMPORARY or garbage.folder.result() is not None:
                _delete(garbage.path)
    except FileNotFoundError:
        return ""
    except LockedError as error:
        return str(error)
    except OSError as error:
        return f"{garbage.path} cannot be removed ({error.strerror})"
    return ""


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    try:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            return found.st_size
        with os.scandir(path) as entries:
            return sum(size_of(Path(entry)) for entry in entries)
    except FileNotFoundError:
        return 0


def _delete(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink()


def _scan(
    top: Path, inside: StageFolder | None = None
) -> Iterator[tuple[Path, StageFolder | None, bool]]:
    """Give all stages' folders and all temporary files, each with the stage's folder it lies in."""
    try:
        with os.scandir(top) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    if inside is None and any(entry.name == "stage.json" for entry in entries):
        inside = StageFolder(top)
        yield top, inside, False
    for entry in entries:
        if _TEMPORARY.fullmatch(entry.name) and not entry.is_symlink():
            yield Path(entry), inside, True
        elif entry.is_dir(follow_symlinks=False):
            yield from _scan(Path(entry), inside)


def _busy(folders: Iterable[StageFolder]) -> set[StageFolder]:
    """Return the folders that a living process holds; to be sure may take a lock's patience."""
    locked = [folder for folder in folders if (folder.path / "lock").exists()]
    if not locked:
        return set()
    with ThreadPoolExecutor(64) as pool:
        alive = pool.map(lambda one: LockWatch(one.path / "lock").wait_until_certain(), locked)
        return {folder for folder, lives in zip(locked, alive, strict=True) if lives}


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > OLD_SECONDS
    except FileNotFoundError:
        return False
