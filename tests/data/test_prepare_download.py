"""Downloads, from a server on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from im_bench.data.prepare import Recipe, find_recipe
from im_bench.data.prepare.download import download
from im_bench.data.prepare.recipe import Archive
from im_bench.errors import ImBenchError

CONTENT = b"an archive"
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served/a.zip").write_bytes(CONTENT)
    handler = partial(QuietHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def recipe(*archives: Archive) -> Recipe:
    return dataclasses.replace(find_recipe("isic2018"), archives=archives)


def test_download_and_keep(server: str, tmp_path: Path) -> None:
    wanted = recipe(Archive("a.zip", CHECKSUM, f"{server}/a.zip"))
    (path,) = download(wanted, tmp_path / "downloads")
    assert path.read_bytes() == CONTENT
    (tmp_path / "served/a.zip").unlink()
    assert download(wanted, tmp_path / "downloads") == [path]


def test_wrong_checksum(server: str, tmp_path: Path) -> None:
    wanted = recipe(Archive("a.zip", "sha256:" + "0" * 64, f"{server}/a.zip"))
    with pytest.raises(ImBenchError, match=r"a\.zip did not arrive whole"):
        download(wanted, tmp_path)
    assert not (tmp_path / "a.zip").exists()


def test_file_that_is_not_there(server: str, tmp_path: Path) -> None:
    wanted = recipe(Archive("b.zip", CHECKSUM, f"{server}/b.zip"))
    with pytest.raises(ImBenchError, match=r"b\.zip could not be downloaded \(HTTPError\)"):
        download(wanted, tmp_path)


def test_server_that_is_not_there(tmp_path: Path) -> None:
    wanted = recipe(Archive("a.zip", CHECKSUM, "http://127.0.0.1:9/a.zip"))
    with pytest.raises(ImBenchError, match=r"could not be downloaded \(ConnectionError\): try ag"):
        download(wanted, tmp_path)
