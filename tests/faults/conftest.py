"""The report of a campaign, gathered from all its rounds, whichever process ran them."""

from __future__ import annotations

import time

import pytest

from .kinds import about
from .report import Round, write

_ROUNDS: list[Round] = []
_BEGAN = time.monotonic()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take note of a round."""
    said = dict(report.user_properties)
    if report.when == "call" and not report.skipped and "faults" in said:
        outcome = str(said.get("outcome", ""))
        _ROUNDS.append(Round(said["kind"], said["faults"], outcome, report.duration))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report where the campaign is over."""
    path = session.config.getoption("--report")
    if path and _ROUNDS:
        seed = session.config.getoption("--seed")
        write(path, _ROUNDS, about(), seed, time.monotonic() - _BEGAN)
