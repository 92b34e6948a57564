"""Searches whose study lies in a real PostgreSQL."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from im_bench.errors import ImBenchError
from im_bench.tuning.storage import open_storage
from im_bench.tuning.study import TrialState

from . import postgresql
from .conftest import Laboratory, wait_until
from .test_session import in_order

OVER = {TrialState.COMPLETE, TrialState.PRUNED}
PATIENCE = {"IM_BENCH_LOCK_PATIENCE": "10"}


@pytest.fixture(scope="session")
def server() -> Iterator[postgresql.Server]:
    """A server that ends with the tests."""
    if why := postgresql.missing():
        if os.environ.get("IM_BENCH_REQUIRE_SERVICES"):
            pytest.fail(why)
        pytest.skip(why)
    with postgresql.server() as running:
        yield running


@pytest.fixture
def shared(server: postgresql.Server, lab: Laboratory) -> Laboratory:
    """Searches whose study lies in a new database."""
    lab.storage = server.database()
    return lab


def test_four_workers_of_which_one_is_killed_run_the_budget_once(shared: Laboratory) -> None:
    # Without a pruner, so that a trial lasts long enough to be seen, however busy the machine is.
    options = ("--parallel", "2", "--slots", "2", "--pruner", "none")
    environment = {**PATIENCE, "LIGHT_SECONDS": "0.5"}
    workers = [shared.start(16, *options, **environment) for _ in range(4)]
    killed = workers[0]

    def of_killed() -> list[int]:
        return [
            record.number
            for record in shared.records()
            if f"-{killed.pid}-" in record.attributes.get("worker", "")
            and record.state is TrialState.RUNNING
        ]

    wait_until(lambda: "trial" in shared.said(killed), 180)
    wait_until(of_killed, 180)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert [one.wait(240) for one in workers[1:]] == [0, 0, 0], shared.said(workers[1])
    records = shared.records()
    counted = [record for record in records if record.counts]
    assert len(counted) == 16
    assert {record.state for record in counted} <= OVER
    lost = [record for record in records if record.state is TrialState.LOST]
    assert lost
    for record in lost:
        assert f"-{killed.pid}-" in record.attributes["worker"]
        same = [other for other in counted if other.params == record.params]
        assert len(same) == 1
        assert str(same[0].number) in record.reason
    assert len({record.params["threshold"] for record in counted}) == 16
    assert all(in_order(steps) for steps in shared.trainings().values())
    assert len({one.attributes["worker"] for one in counted}) >= 3
    said = "".join(map(shared.said, workers[1:]))
    assert said.count("its worker died") == len(lost)
    assert "Traceback" not in said
    assert "failed" not in said
    assert "Warning" not in said


def test_a_search_outlives_a_restart_of_the_database(
    shared: Laboratory, server: postgresql.Server
) -> None:
    options = ("--pruner", "none", "--parallel", "2", "--slots", "2")
    both = [shared.start(8, *options, **PATIENCE, LIGHT_SECONDS="0.2") for _ in range(2)]
    wait_until(lambda: all("trial" in shared.said(one) for one in both))
    wait_until(lambda: len(shared.trainings()) >= 3)
    server.stop()
    try:
        wait_until(lambda: all("cannot be reached" in shared.said(one) for one in both))
        time.sleep(1)
        assert all(one.poll() is None for one in both)
    finally:
        server.start()
    assert [one.wait(120) for one in both] == [0, 0], [shared.said(one) for one in both]
    for one in both:
        assert shared.said(one).count("cannot be reached") == 1
        assert shared.said(one).count("can be reached again") == 1
        assert "Traceback" not in shared.said(one)
    assert len(shared.counted()) == 8
    assert {record.state for record in shared.counted()} == {TrialState.COMPLETE}
    assert all(in_order(steps) for steps in shared.trainings().values())


def test_an_interrupt_during_an_outage_is_no_error(
    shared: Laboratory, server: postgresql.Server
) -> None:
    one = shared.start(4, "--parallel", "1", LIGHT_SECONDS="0.3", **PATIENCE)
    wait_until(lambda: shared.trainings())
    server.stop()
    try:
        wait_until(lambda: "cannot be reached" in shared.said(one))
        one.send_signal(signal.SIGINT)
        assert one.wait(30) == 130
    finally:
        server.start()
    assert "Traceback" not in shared.said(one)


def test_after_an_interrupt_nobody_waits_for_the_dead(shared: Laboratory) -> None:
    """Without the shortened patience this would take 45 seconds."""
    one = shared.start(2, "--parallel", "2", "--slots", "2", LIGHT_SECONDS="0.4")
    wait_until(lambda: len(shared.trainings()) == 2)
    one.send_signal(signal.SIGINT)
    assert one.wait(30) == 130
    states = [record.state.value for record in shared.records()]
    assert states == ["lost", "lost", "waiting", "waiting"]
    again = shared.start(2, "--parallel", "2", "--slots", "2")
    assert again.wait(60) == 0, shared.said(again)
    assert "its worker died" not in shared.said(again)
    assert [record.state.value for record in shared.counted()] == ["complete"] * 2


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bench:secret@/none?host=/nowhere",
        "postgres://bench:secret@127.0.0.1:1/none",
        "nosuch://bench:secret@there/none",
        "mysql://bench:secret@127.0.0.1:1/none",
        "postgresql://bench:secret@[::1/none",
    ],
)
def test_a_database_that_is_not_there_is_one_sentence(url: str) -> None:
    with pytest.raises(ImBenchError) as raised:
        open_storage(url)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_an_unknown_database_is_one_sentence(server: postgresql.Server) -> None:
    with pytest.raises(ImBenchError, match='database "none" does not exist'):
        open_storage(server._address("none"))
