"""Where the recordings are, and the table of differences at the end of the session."""

from __future__ import annotations

from pathlib import Path

import pytest

from .compare import DIFFERENCES, NOT_COVERED, Difference, summary


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
    """Print each item's largest difference (with -v, each array's), and what is not covered."""
    # Properties of reports, and not a global, so that the table is whole under pytest-xdist too.
    properties = [
        each
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
        for each in report.user_properties
    ]
    recorded = sorted(value for name, value in properties if name == DIFFERENCES)
    if not recorded:
        return
    terminalreporter.section("differences from the recordings of the originals")
    for item, rows in recorded:
        found = [Difference(*row) for row in rows]
        terminalreporter.write_line(f"{item:<24} {summary(found)}")
        for each in found:
            if terminalreporter.verbosity > 0 or not each.passes:
                terminalreporter.write_line(f"    {each}")
    for name, items in properties:
        if name == NOT_COVERED and items:
            terminalreporter.write_line(f"not covered: {', '.join(items)}")
