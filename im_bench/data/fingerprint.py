"""What a data set is, in one hash: whatever changes a result changes it, and nothing else.

Needs neither numpy nor an image library: planning a suite reads it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from im_bench.data.description import SPLITS, DataDescription, load_description
from im_bench.data.listing import list_pairs
from im_bench.errors import ImBenchError
from im_bench.files import SEAL, is_whole, read_json, sealed, sha256_file, sha256_json, write_json

MANIFEST = "manifest.json"

_Hashes = dict[str, tuple[int, int, str]]  # path -> size in bytes, time in ns, SHA-256


def fingerprint(path: Path, cache: Path | None = None) -> str:
    """Return the SHA-256 of a data set's description and files.

    Where the files lie (``root``) and when they were written is not part of it.

    Args:
        path: The description, or the folder with a ``dataset.yaml``.
        cache: JSON file that remembers files' hashes by path, size and time of change.

    Raises:
        ImBenchError: The description is wrong, a folder is missing, or a prepared data set is not
            what its manifest says.
    """
    return content_fingerprint(*load_description(path), cache)


def content_fingerprint(description: DataDescription, base: Path, cache: Path | None = None) -> str:
    """Return the fingerprint of a description that is loaded; otherwise as `fingerprint`."""
    roles = dict(_files(description, base))
    prepared = _prepared(description.data_root(base), roles.values(), cache)
    files: str | dict[str, str]
    if prepared is not None:
        files = prepared
    else:
        hashes = file_hashes(roles.values(), cache)
        files = {role: hashes[str(path)] for role, path in roles.items()}
    return sha256_json([description.model_dump(mode="json", exclude={"root"}), files])


def _prepared(root: Path, used: Iterable[Path], cache: Path | None) -> str | None:
    """Return what the manifest of a prepared folder promises; None where it cannot speak.

    That is where there is none, or where it does not know all files that are used: images that came
    later, say, or another list of labelled ones. All sizes are compared with the manifest, and the
    contents of files that have changed since it was written.
    """
    try:
        manifest = read_json(root / MANIFEST)
        promised, known = str(manifest["fingerprint"]), dict(manifest["files"])
        files = {f"{root}/{name}": (int(size), str(sha)) for name, (size, sha) in known.items()}
        written = _changed((root / MANIFEST).stat())
    except (OSError, ValueError, TypeError, KeyError):
        # No file, or one that only happens to have that name.
        return None
    later = []
    for file, (size, _) in files.items():
        # Not by Path, which takes longer than the system's answer: there are ten thousand files.
        stat = os.stat(file) if os.path.isfile(file) else None  # noqa: PTH113, PTH116
        if stat is None or stat.st_size != size:
            what = "is missing" if stat is None else f"has {stat.st_size} bytes instead of {size}"
            raise ImBenchError(f"{file}: {what}: run `im-bench data prepare` again")
        if _changed(stat) > written:
            later.append(Path(file))
    for file, sha in file_hashes(later, cache).items():
        if sha != files[file][1]:
            raise ImBenchError(
                f"{file} is not what was prepared: remove {root} and run `im-bench data prepare` "
                f"again, or remove {root / MANIFEST} if the folder is your own now"
            )
    return promised if files.keys() >= set(map(str, used)) else None


def _files(description: DataDescription, base: Path) -> Iterator[tuple[str, Path]]:
    """Give each file that belongs to the data set with the part that it plays."""
    folders = description.split_folders or {"train": ""}
    for split in SPLITS:
        if split in folders:
            listing = list_pairs(description, base, folders[split])
            for item in (*listing.items, *(listing.without_mask if split == "train" else ())):
                yield f"{split}/{item.name}/image", item.image
                for index, mask in enumerate(item.masks):
                    yield f"{split}/{item.name}/mask-{index}", mask
    if description.labelled is not None:
        yield "labelled", base / description.labelled


def file_hashes(paths: Collection[Path], cache: Path | None = None) -> dict[str, str]:
    """Return the SHA-256 of each file by its path, as it is now.

    Args:
        paths: The files.
        cache: JSON file that remembers hashes by path, size and time of change.

    Raises:
        ImBenchError: A file cannot be read.
    """
    return {path: sha for path, (_, _, sha) in _hash_all(paths, cache).items()}


def _hash_all(paths: Collection[Path], cache: Path | None) -> _Hashes:
    """Return size, time and hash of each file; those that did not change come from ``cache``."""
    known = {} if cache is None else _remembered(cache)
    stats = {str(path): _stat(path) for path in paths}
    stale = [path for path, stat in stats.items() if known.get(path, ())[:2] != stat]
    if stale:
        with ThreadPoolExecutor() as pool:
            hashes = pool.map(_sha256, stale)
            known |= {path: (*stats[path], sha) for path, sha in zip(stale, hashes, strict=True)}
        if cache is not None:
            with suppress(OSError):  # a cache that cannot be kept costs time, nothing else
                write_json(cache, sealed(known))
    return known


def _remembered(cache: Path) -> _Hashes:
    try:
        content = read_json(cache)
        if not is_whole(content):
            return {}  # A wrong hash would be believed for ever.
        del content[SEAL]
        return {path: (size, time, sha) for path, (size, time, sha) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        # Absent or damaged: what it held can be computed again.
        return {}


def _stat(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return stat.st_size, _changed(stat)


def _changed(stat: os.stat_result) -> int:
    """Return when a file was changed, in ns.

    Whoever copies or unpacks a file may set the time of its last writing to that of another file,
    but not the time at which that was done.
    """
    return max(stat.st_mtime_ns, stat.st_ctime_ns)


def _sha256(path: str) -> str:
    try:
        return sha256_file(Path(path))
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path | str, error: OSError) -> ImBenchError:
    return ImBenchError(f"{path}: cannot be read: {error.strerror}")
