from __future__ import annotations

from pathlib import Path

import pytest

from im_bench.tuning.storage import StudyStorage

from .studies import opened


@pytest.fixture
def storage(tmp_path: Path) -> StudyStorage:
    """An empty journal in a results folder."""
    return opened(tmp_path / "runs")
