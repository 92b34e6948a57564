"""Fixtures of real clusters."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from . import slurm_cluster


@pytest.fixture(scope="session")
def running_slurm() -> Iterator[slurm_cluster.Cluster]:
    """A Slurm cluster that ends with the tests."""
    if why := slurm_cluster.missing():
        if os.environ.get("IM_BENCH_REQUIRE_SERVICES"):
            pytest.fail(why)
        pytest.skip(why)
    with slurm_cluster.cluster() as cluster:
        yield cluster


@pytest.fixture
def slurm(
    running_slurm: slurm_cluster.Cluster, monkeypatch: pytest.MonkeyPatch
) -> slurm_cluster.Cluster:
    """The cluster, which this process and its children find."""
    monkeypatch.setenv("SLURM_CONF", running_slurm.config)
    return running_slurm
