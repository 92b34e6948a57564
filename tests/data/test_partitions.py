"""The label partitions of Cityscapes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from im_bench.data import partitions
from im_bench.data.partitions import (
    ListFile,
    Partition,
    fetch,
    load_partitions,
    load_validation,
    read_list,
)
from im_bench.data.splits import overlap
from im_bench.errors import ImBenchError

IMAGE = "leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png"
LABEL = "gtFine/train/ulm/ulm_000000_000019_gtFine_labelTrainIds.png"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a server that stands for GitHub."""
    folder = tmp_path / "served"
    folder.mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setattr(partitions, "SERVER", f"http://127.0.0.1:{http.server_port}")
    yield folder
    http.shutdown()
    http.server_close()


@pytest.fixture(scope="module")
def original(shared: Path) -> Path:
    folder = shared / "splits"
    if not folder.is_dir():
        pytest.skip(f"no partitions at {folder}")
    return folder


def test_both_line_formats(tmp_path: Path) -> None:
    u2pl, unimatch = tmp_path / "u2pl.txt", tmp_path / "unimatch.txt"
    u2pl.write_text(f"{IMAGE}\n")
    unimatch.write_text(f"{IMAGE} {LABEL}\n\n")
    assert read_list(u2pl) == read_list(unimatch) == ["train/ulm/ulm_000000_000019"]


@pytest.mark.parametrize("line", ["ulm_000000_000019", f"/{IMAGE}", IMAGE.replace("ulm/", "jena/")])
def test_other_lines(line: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{IMAGE}\n{line}\n")
    with pytest.raises(ImBenchError, match=r"list.txt, line 2: .* names no image of the data set"):
        read_list(tmp_path / "list.txt")


def test_no_image_counts_twice() -> None:
    with pytest.raises(ImBenchError, match="partition u2pl-1-8: a, c would be counted twice"):
        Partition("u2pl", "1-8", ("a", "b", "a"), ("c", "c"))


def test_images_that_are_labelled_and_unlabelled_are_told() -> None:
    assert Partition("u2pl", "1-8", ("d", "a", "b"), ("b", "c", "a")).overlap == ["a", "b"]
    assert not Partition("u2pl", "1-8", ("a",), ("b",)).overlap


def test_no_original_list_labels_an_image_that_it_calls_unlabelled(original: Path) -> None:
    """Of all lists in both repositories, whatever the data set."""
    folders = sorted(path.parent for path in original.rglob("labeled.txt"))
    assert len(folders) == 29
    for folder in folders:
        labelled, unlabelled, val = (
            [line.split()[0].removesuffix(".jpg").rpartition("/")[2] for line in lines]
            for lines in (
                (folder / name).read_text().splitlines()
                for name in ("labeled.txt", "unlabeled.txt", "../val.txt")
            )
        )
        assert not overlap(labelled, unlabelled), folder
        assert not overlap([*labelled, *unlabelled], val), folder


def test_official_partitions(original: Path, tmp_path: Path) -> None:
    found = load_partitions(tmp_path, [original])
    assert {each.name: len(each.labelled) for each in found} == {
        "u2pl-1-16": 186,
        "u2pl-1-8": 372,
        "u2pl-1-4": 744,
        "u2pl-1-2": 1488,
        "unimatch-1-30": 100,
        "unimatch-1-16": 186,
        "unimatch-1-8": 372,
        "unimatch-1-4": 744,
        "unimatch-1-2": 1488,
    }
    training = {frozenset(each.labelled + each.unlabelled) for each in found}
    assert [len(names) for names in training] == [2975]
    assert not any(tmp_path.iterdir())


def test_families_report_on_the_same_images(original: Path, tmp_path: Path) -> None:
    u2pl, unimatch = (
        set(load_validation(family, tmp_path, [original])) for family in ("u2pl", "unimatch")
    )
    assert u2pl == unimatch
    assert len(u2pl) == 500


def test_download(server: Path, tmp_path: Path) -> None:
    content = f"{IMAGE}\n".encode()
    file = ListFile("u2pl", "186/labeled.txt", hashlib.sha256(content).hexdigest())
    repository = partitions.REPOSITORIES["u2pl"]
    path = server / repository.root / repository.folder / file.path
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    found = fetch(file, tmp_path / "cache", {})
    assert found.read_bytes() == content
    path.unlink()
    assert fetch(file, tmp_path / "cache", {}) == found


def test_changed_download_is_refused(server: Path, tmp_path: Path) -> None:
    repository = partitions.REPOSITORIES["unimatch"]
    path = server / repository.root / repository.folder / "1_8/labeled.txt"
    path.parent.mkdir(parents=True)
    path.write_text("something else\n")
    with pytest.raises(ImBenchError, match="give a folder that holds the original lists"):
        fetch(ListFile("unimatch", "1_8/labeled.txt", "0" * 64), tmp_path / "cache", {})


def test_no_connection(server: Path, tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match=r"u2pl|U2PL.* could not be downloaded \(HTTPError\)"):
        load_partitions(tmp_path / "cache", [tmp_path])
