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

_Hashes = dict[str, tuple[int, int, str]]  # path -> size in bytes, mtime in ns, SHA-256


def fingerprint(path: Path, cache: Path | None = None) -> str:
    """Return the SHA-256 of a data set's description and files.

    Where the files lie (``root``) and when they were written is not part of it.

    Args:
        path: The description, or the folder with a ``dataset.yaml``.
        cache: JSON file that remembers files' hashes by path, size and modification time.

    Raises:
        ImBenchError: The description is wrong, a folder is missing, or a prepared data set is not
            what its manifest says.
    """
    return content_fingerprint(*load_description(path), cache)


def content_fingerprint(description: DataDescription, base: Path, cache: Path | None = None) -> str:
    """Return the fingerprint of a description that is loaded; otherwise as `fingerprint`."""
    roles = dict(_files(description, base))
    prepared = _prepared(description.data_root(base), roles.values())
    files: str | dict[str, str]
    if prepared is not None:
        files = prepared
    else:
        hashes = _hash_all(roles.values(), cache)
        files = {role: hashes[str(path)][2] for role, path in roles.items()}
    return sha256_json([description.model_dump(mode="json", exclude={"root"}), files])


def _prepared(root: Path, used: Iterable[Path]) -> str | None:
    """Return what the manifest of a prepared folder promises; None where it cannot speak.

    That is where there is none, or where it does not know all files that are used: images that came
    later, say, or another list of labelled ones. Names and sizes of the files are compared with the
    manifest, contents are not.
    """
    try:
        manifest = read_json(root / MANIFEST)
        promised, sizes = str(manifest["fingerprint"]), dict(manifest["files"])
    except (OSError, ValueError, TypeError, KeyError):
        # No file, or one that only happens to have that name.
        return None
    known = {f"{root}/{name}": size for name, (size, _) in sizes.items()}
    for file, size in known.items():
        # Not by Path, which takes longer than the system's answer: there are ten thousand files.
        found = os.stat(file).st_size if os.path.isfile(file) else None  # noqa: PTH113, PTH116
        if found != size:
            what = "is missing" if found is None else f"has {found} bytes instead of {size}"
            raise ImBenchError(f"{file}: {what}: run `im-bench data prepare` again")
    return promised if known.keys() >= set(map(str, used)) else None


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
    return stat.st_size, stat.st_mtime_ns


def _sha256(path: str) -> str:
    try:
        return sha256_file(Path(path))
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path | str, error: OSError) -> ImBenchError:
    return ImBenchError(f"{path}: cannot be read: {error.strerror}")
