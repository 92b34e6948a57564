"""Raw data wherever it lies: folders and archives, read as one set of files."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple, Protocol

from im_bench.errors import ImBenchError
from im_bench.files import atomic_path

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")


class Mark(NamedTuple):
    """What tells a raw file from another one without reading it.

    Attributes:
        size: In bytes.
        version: The CRC-32 that a zip archive keeps of it, or its time of change in a folder.
    """

    size: int
    version: int


class _Source(Protocol):
    @property
    def marks(self) -> Mapping[str, Mark]: ...

    def read(self, path: str) -> bytes: ...


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.marks: dict[str, Mark] = {}
        for parent, _, names in os.walk(folder, followlinks=True):
            for name in names:
                path = Path(parent, name)
                status = path.stat()
                mark = Mark(status.st_size, status.st_mtime_ns)
                self.marks[path.relative_to(folder).as_posix()] = mark

    def read(self, path: str) -> bytes:
        return (self._folder / path).read_bytes()


class _Zip:
    """A zip archive that is read in place: nothing is extracted."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path = path
        try:
            self._zip = stack.enter_context(zipfile.ZipFile(path))
        except zipfile.BadZipFile as error:
            raise _broken(path, "zip", error) from error
        self.marks: dict[str, Mark] = {}
        for member in self._zip.infolist():
            _refuse_unsafe(path, member.filename, stat.S_ISLNK(member.external_attr >> 16))
            if not member.is_dir():
                self.marks[member.filename] = Mark(member.file_size, member.CRC)

    def read(self, path: str) -> bytes:
        try:
            return self._zip.read(path)
        # RuntimeError: it is encrypted, or compressed in a way that Python does not know.
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise _broken(self._path, "zip", error) from error


class RawFiles:
    """The files of several folders and archives.

    Attributes:
        marks: The mark of every file, by its relative POSIX path.
    """

    def __init__(self, sources: Iterable[_Source]) -> None:
        self._owners: dict[str, _Source] = {}
        self.marks: dict[str, Mark] = {}
        for source in sources:
            for path, mark in source.marks.items():
                if not _is_litter(path):
                    self._owners.setdefault(path, source)
                    self.marks.setdefault(path, mark)

    @property
    def paths(self) -> list[str]:
        """All paths, sorted."""
        return sorted(self.marks)

    def read(self, path: str) -> bytes:
        """Return a file's content; threads may read at the same time.

        Raises:
            ImBenchError: The archive is damaged at this place.
        """
        return self._owners[path].read(path)


def _is_litter(path: str) -> bool:
    """Tell whether an operating system left this file behind (macOS puts copies into archives)."""
    return any(part.startswith((".", "__MACOSX")) for part in path.split("/"))


@contextmanager
def open_raw(sources: Sequence[Path], scratch: Path) -> Iterator[RawFiles]:
    """Open folders and archives for reading.

    Zip archives are read in place. Tar archives, which cannot be read in any order, are extracted
    into ``scratch`` once; they stay there until the caller removes the folder.

    Raises:
        ImBenchError: A source does not exist, is no archive, is damaged or half-downloaded, or
            holds names or links that lead out of its folder.
    """
    with ExitStack() as stack:
        yield RawFiles([_open(source, scratch, stack) for source in sources])


def _open(path: Path, scratch: Path, stack: ExitStack) -> _Source:
    if path.is_dir():
        return _Folder(path)
    if not path.is_file():
        raise ImBenchError(f"{path} does not exist: give a raw folder or a downloaded archive")
    if path.name.endswith(".zip"):
        return _Zip(path, stack)
    if path.name.endswith(ARCHIVE_SUFFIXES):
        return _Folder(_extract_tar(path, scratch))
    raise ImBenchError(
        f"{path} is no archive that can be read: expected a folder or a file ending in "
        f"{', '.join(ARCHIVE_SUFFIXES)}"
    )


def _extract_tar(path: Path, scratch: Path) -> Path:
    status = path.stat()
    target = scratch / f"{path.name}-{status.st_size}-{status.st_mtime_ns}"
    if target.is_dir():
        return target
    with atomic_path(target) as folder:
        folder.mkdir(parents=True)
        try:
            with tarfile.open(path) as archive:
                for member in archive:
                    _refuse_unsafe(path, member.name, not (member.isfile() or member.isdir()))
                    if content := archive.extractfile(member):
                        file = folder / member.name
                        file.parent.mkdir(parents=True, exist_ok=True)
                        with file.open("wb") as output:
                            shutil.copyfileobj(content, output)
        except (tarfile.ReadError, EOFError, zlib.error) as error:
            raise _broken(path, "tar", error) from error
    return target


def _refuse_unsafe(archive: Path, member: str, link: bool) -> None:
    path = PurePosixPath(member.replace("\\", "/"))
    leaves = path.is_absolute() or ".." in path.parts or bool(PureWindowsPath(member).drive)
    if link or leaves:
        what = "is a link or a device" if link else "leads out of the archive's folder"
        raise ImBenchError(
            f"{archive} holds {member!r}, which {what}: it is not the official archive, "
            f"download it again from the official site"
        )


def _broken(path: Path, kind: str, error: Exception) -> ImBenchError:
    return ImBenchError(
        f"{path} ({path.stat().st_size:,} bytes) is not a complete {kind} archive ({error}): "
        f"it may be half-downloaded, download it again"
    )


def verify(archive: Path, expected: str | None) -> str:
    """Return the SHA-256 of an archive, after comparing it with what is expected.

    Args:
        archive: The file.
        expected: ``"sha256:…"`` or ``"md5:…"``, or None to accept anything.

    Raises:
        ImBenchError: The checksum differs.
    """
    digests = {"sha256": hashlib.sha256()}
    algorithm, _, wanted = (expected or "").partition(":")
    if algorithm:
        digests.setdefault(algorithm, hashlib.new(algorithm, usedforsecurity=False))
    with archive.open("rb") as file:
        while block := file.read(1 << 22):
            for digest in digests.values():
                digest.update(block)
    sha256 = digests["sha256"].hexdigest()
    if algorithm and digests[algorithm].hexdigest() != wanted.lower():
        raise ImBenchError(
            f"{archive} has the {algorithm} {digests[algorithm].hexdigest()} where "
            f"{wanted} is expected: download it again, or, if you trust the file, add "
            f"--sha256 {sha256}"
        )
    return sha256
