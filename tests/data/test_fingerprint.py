from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from im_bench.data.fingerprint import fingerprint
from im_bench.errors import ImBenchError
from im_bench.files import sha256_file, write_json

from .conftest import WriteData


def test_it_depends_on_content_and_description_only(write_data: WriteData, tmp_path: Path) -> None:
    root = write_data()
    before = fingerprint(root)
    assert len(before) == 64

    for file in root.glob("images/*/*.png"):
        os.utime(file, (0, 0))
    assert fingerprint(root / "dataset.yaml") == before

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    text = (root / "dataset.yaml").read_text(encoding="utf-8")
    (elsewhere / "spots.yaml").write_text(f"root: {root}\n{text}", encoding="utf-8")
    assert fingerprint(elsewhere / "spots.yaml") == before

    (root / "dataset.yaml").write_text(text.replace("- spot", "- dot"), encoding="utf-8")
    assert fingerprint(root) != before


@pytest.mark.parametrize("file", ["images/test/test-0.png", "masks/train/train-3.png"])
def test_any_changed_file_changes_it(write_data: WriteData, file: str) -> None:
    root = write_data()
    before = fingerprint(root)
    (root / file).write_bytes((root / file).read_bytes() + b"\0")
    assert fingerprint(root) != before


def test_swapped_files_change_it(write_data: WriteData) -> None:
    root = write_data()
    before = fingerprint(root)
    one, other = root / "images/train/train-0.png", root / "images/val/val-0.png"
    one.rename(root / "kept")
    other.rename(one)
    (root / "kept").rename(other)
    assert fingerprint(root) != before


def test_the_cache_spares_reading(
    write_data: WriteData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache = write_data(), tmp_path / "cache" / "hashes.json"
    before = fingerprint(root, cache)
    read: list[str] = []

    def spied(path: str) -> str:
        read.append(path)
        return sha256_file(Path(path))

    monkeypatch.setattr("im_bench.data.fingerprint._sha256", spied)
    assert fingerprint(root, cache) == before
    assert not read

    image = root / "images/train/train-0.png"
    stat = image.stat()
    # As by `cp -p` or unpacking: neither the size nor the time of writing tells of this change.
    image.write_bytes(bytes(stat.st_size))
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert fingerprint(root, cache) == fingerprint(root) != before
    assert read.count(str(image)) == 2
    assert len(read) == len(set(read)) + 1


def test_a_damaged_cache_is_made_anew(write_data: WriteData, tmp_path: Path) -> None:
    root, cache = write_data(), tmp_path / "hashes.json"
    cache.write_text("[1, 2", encoding="utf-8")
    assert fingerprint(root, cache) == fingerprint(root, cache) == fingerprint(root)


def test_a_wrong_hash_in_the_cache_is_not_believed(write_data: WriteData, tmp_path: Path) -> None:
    root, cache = write_data(), tmp_path / "hashes.json"
    before = fingerprint(root, cache)
    text = cache.read_text(encoding="utf-8")
    (sha,) = set(re.findall(r"\b[0-9a-f]{64}\b", text)[:1])
    cache.write_text(text.replace(sha, sha[::-1]), encoding="utf-8")
    assert fingerprint(root, cache) == before


def write_manifest(root: Path, fingerprint: str) -> None:
    """Write what a preparation leaves."""
    files = {
        path.relative_to(root).as_posix(): [path.stat().st_size, sha256_file(path)]
        for path in root.rglob("*.*")
        if path.name != "manifest.json"
    }
    write_json(root / "manifest.json", {"fingerprint": fingerprint, "files": files})


def test_a_prepared_folder_is_known_by_its_manifest(write_data: WriteData) -> None:
    root = write_data()
    write_manifest(root, "a")
    first = fingerprint(root)
    write_manifest(root, "b")
    assert fingerprint(root) != first

    image = root / "images/train/train-0.png"
    content = image.read_bytes()
    image.write_bytes(content)
    assert fingerprint(root) != first
    image.write_bytes(bytes(len(content)))
    with pytest.raises(ImBenchError, match=r"train-0\.png is not what was prepared: remove"):
        fingerprint(root)
    image.write_bytes(b"")
    with pytest.raises(ImBenchError, match=r"train-0\.png: has 0 bytes instead of .*prepare"):
        fingerprint(root)
    image.unlink()
    with pytest.raises(ImBenchError, match=r"train-0\.png: is missing"):
        fingerprint(root)


def test_files_that_the_manifest_does_not_know_count(
    write_data: WriteData, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = write_data()
    write_manifest(root, "a")
    before = fingerprint(root)
    for kind in ("images", "masks"):
        folder = root / kind / "train"
        (folder / "train-9.png").write_bytes((folder / "train-0.png").read_bytes())
    assert fingerprint(root) != before

    own = tmp_path_factory.mktemp("own")
    text = (root / "dataset.yaml").read_text(encoding="utf-8")
    (own / "own.yaml").write_text(f"root: {root}\nlabelled: own.txt\n{text}", encoding="utf-8")
    (own / "own.txt").write_text("train-0\n", encoding="utf-8")
    one = fingerprint(own / "own.yaml")
    (own / "own.txt").write_text("train-1\n", encoding="utf-8")
    assert fingerprint(own / "own.yaml") != one


def test_a_foreign_manifest_means_nothing(write_data: WriteData) -> None:
    root = write_data()
    before = fingerprint(root)
    (root / "manifest.json").write_text('{"version": 1}', encoding="utf-8")
    assert fingerprint(root) == before


def test_a_missing_list_of_names_is_told(write_data: WriteData) -> None:
    with pytest.raises(ImBenchError, match=r"labelled\.txt: cannot be read"):
        fingerprint(write_data(labelled="labelled.txt"))
