"""Online or offline: never a question, never a surprise."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from im_bench.report.tracking.tracker import pick_mode


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({"mode": "disabled", "api_key": "x"}, "disabled"),
        ({"mode": "offline", "api_key": "x"}, "offline"),
        ({"mode": "dryrun", "api_key": "x"}, "offline"),
        ({"mode": "online"}, "offline"),
        ({"mode": "online", "api_key": "x", "base_url": "http://127.0.0.1:9"}, "offline"),
    ],
)
def test_the_mode_without_wish_key_or_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], mode: str
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    unset = {"api_key": None, "identity_token_file": None, "base_url": "http://127.0.0.1:9"}
    assert pick_mode(SimpleNamespace(**{**unset, **fields})) == mode


def test_a_key_in_netrc_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1\n  login user\n  password x\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        none = SimpleNamespace(mode="online", api_key=None, identity_token_file=None, base_url=url)
        assert pick_mode(none) == "online"
        path.write_text("")
        assert pick_mode(none) == "offline"
