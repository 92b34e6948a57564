"""Options and fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")

# How long an example takes says more of the machine than of the code.
settings.register_profile("im-bench", deadline=None)
settings.load_profile("im-bench")

ROOT = Path(__file__).resolve().parent.parent

CLUSTERS = ("test_ray.py", "test_slurm.py", "test_postgresql.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names a folder of recordings of the original implementations."""
    parser.addoption(
        "--golden-dir",
        type=Path,
        default=None,
        help="folder of golden .npz files (default: $IM_BENCH_SHARED/golden or ../shared/golden)",
    )
    parser.addoption("--faults", type=int, default=0, help="rounds of faults in tests/faults")
    parser.addoption("--seed", type=int, default=1, help="what the faults are drawn from")
    parser.addoption("--report", type=Path, default=None, help="file that tells what was seen")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give all tests of a cluster or a database to one worker: they share it."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return file if file.endswith(CLUSTERS) else nodeid

    return Scheduling(config, log)


def shared_folder() -> Path:
    """Return the folder of material beside the project; it need not exist."""
    return Path(os.environ.get("IM_BENCH_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and recordings beside the project; skips where there is none."""
    folder = shared_folder()
    if not folder.is_dir():
        pytest.skip(f"no shared material at {folder}: set IM_BENCH_SHARED")
    return folder
