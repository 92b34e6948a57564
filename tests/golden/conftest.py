"""Where the recordings are, and the table of differences at the end of the session."""

from __future__ import annotations

from pathlib import Path

import pytest

from .compare import PROPERTY


@pytest.fixture(scope="session")
def golden_dir(request: pytest.FixtureRequest) -> Path:
    """The folder of recordings; skips where there is none and none was asked for."""
    asked: Path | None = request.config.getoption("golden_dir")
    if asked is None:
        folder: Path = request.getfixturevalue("shared") / "golden"
        if not folder.is_dir():
            pytest.skip(f"no recordings at {folder}: give --golden-dir")
        return folder
    if not asked.is_dir():
        pytest.fail(f"--golden-dir {asked} is not a folder", pytrace=False)
    return asked


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each compared array with its largest difference, and what nothing was compared with."""
    # Properties of reports, and not a global, so that the table is whole under pytest-xdist too.
    properties = [
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
        for name, value in report.user_properties
        if name.startswith(PROPERTY)
    ]
    if not properties:
        return
    terminalreporter.section("golden recordings")
    for line in sorted(properties):
        terminalreporter.write_line(line)
