from __future__ import annotations

import errno
import sys

import pytest

from im_bench.cli import app


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (app.ImBenchError("no such thing"), 2, "error: no such thing\n"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 2, "error: [Errno 28] No space"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_the_shell_is_told(
    error: BaseException,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(SystemExit) as end:
        app.main()
    assert end.value.code == status
    assert capsys.readouterr().err.startswith(said)


def test_help_names_all_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["im-bench", "--help"])
    with pytest.raises(SystemExit) as end:
        app.main()
    assert end.value.code == 0
    said = capsys.readouterr().out
    for name in (
        "run",
        "retry",
        "plan",
        "status",
        "logs",
        "table",
        "show",
        "diff",
        "predict",
        "gc",
    ):
        assert f" {name} " in said
