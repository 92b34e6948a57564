"""Real offline runs, written by the real mirror process and read back."""

from __future__ import annotations

import http.server
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from im_bench.files import read_json
from im_bench.report.mirror import Mirror, cards
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage
from im_bench.suites.plan import Plan

from .conftest import Score
from .results import finish, leave_pseudo_labels, leave_training, make_tiny_plan
from .wandb_reader import read_runs, read_table


@pytest.fixture(autouse=True)
def no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the account of whoever runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


class Server(http.server.ThreadingHTTPServer):
    """Refuses everything, and counts."""

    requests = 0


@pytest.fixture
def server() -> Iterator[Server]:
    class Refuse(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            one.requests += 1
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b'{"errors": ["no such key"]}')

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    one = Server(("127.0.0.1", 0), Refuse)
    threading.Thread(target=one.serve_forever, daemon=True).start()
    yield one
    one.shutdown()
    one.server_close()


def stage(plan: Plan, slug: str) -> Stage:
    return next(one for one in plan.graph if one.slug == slug)


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_a_suite_becomes_runs_and_a_report(plan: Plan, store: Store, score: Score) -> None:
    member = stage(plan, "isic/0.1/s1/ldt/member1")
    labels = stage(plan, "isic/0.1/s1/im/g1-labels")
    with Mirror(store.out, plan):
        leave_training(store, plan, member, range(1, 21))
        leave_pseudo_labels(store, plan, labels)
        score("isic/0.1/im", 1, 0.7, 0.8, shares=[0.5, 0.6])
    runs = {run.job_type: run for run in read_runs(store.out)}
    assert set(runs) == {"train", "pseudo-label", "report"}

    train = runs["train"]
    assert (train.id, train.name) == (member.key[:16], member.slug)
    assert (train.group, train.project) == ("isic/0.1/ldt", "im-bench")
    assert set(train.tags) == {"tiny", "budget-equal", "isic", "s1", "ldt", "im"}
    assert {key: train.config[key] for key in member.config} == read_json(
        store.folder(member).path / "stage.json"
    )["config"]
    assert train.metrics["*"] == "iter"
    losses = [(row["iter"], row["train/loss"]) for row in train.history if "train/loss" in row]
    assert losses == [(i, 1 / i) for i in range(1, 21)]
    scores = [(row["iter"], row["val/iou"]) for row in train.history if "val/iou" in row]
    assert scores == [(10, 0.1), (20, 0.2)]
    assert train.exit_code == 0
    assert train.summary["result/val/iou"] == 0.2

    for job_type, count in (("train", 2), ("pseudo-label", 3)):
        run = runs[job_type]
        shown = next(row["samples"] for row in run.history if "samples" in row)
        assert shown["count"] == count
        for name in shown["filenames"]:
            assert (run.folder / "files" / name).stat().st_size > 0
    assert runs["pseudo-label"].summary["result/images_kept"] == 0.5

    columns, rows = read_table(runs["report"], "results")
    assert len(rows) == 8
    ours = next(
        row for row in (dict(zip(columns, r, strict=True)) for r in rows) if row["mean"] is not None
    )
    assert (ours["method"], ours["mean"], ours["n"], ours["state"]) == ("im", 0.8, 1, "no data")
    columns, rows = read_table(runs["report"], "generations")
    assert [dict(zip(columns, row, strict=True))["images_kept"] for row in rows] == [0.5, 0.6]
    assert runs["report"].config["suite"]["name"] == "tiny"


def test_a_second_time_doubles_nothing(plan: Plan, store: Store, score: Score) -> None:
    leave_training(store, plan, stage(plan, "isic/0.1/s1/ldt/member1"), range(1, 21))
    for _ in range(2):
        with Mirror(store.out, plan):
            pass
    assert sorted(run.job_type for run in read_runs(store.out)) == ["report", "train"]
    score("isic/0.1/ldt", 1, 0.7)
    with Mirror(store.out, plan):
        pass
    assert sorted(run.job_type for run in read_runs(store.out)) == ["report", "report", "train"]


def test_a_killed_mirror_doubles_nothing(plan: Plan, store: Store) -> None:
    running = stage(plan, "isic/0.1/s1/ldt/member1")
    memory = store.folder(running).path / "wandb.json"
    with store.prepare(running, plan.graph).lock():
        leave_training(store, plan, running, range(1, 21), done=False)
        with Mirror(store.out, plan) as mirror:
            wait_for(memory.exists)
            process = mirror._process
            assert process is not None
            os.killpg(process.pid, signal.SIGKILL)
    leave_training(store, plan, running, range(1, 41))
    with Mirror(store.out, plan):
        pass
    sent = [
        row["iter"]
        for run in read_runs(store.out)
        for row in run.history
        if run.job_type == "train" and "train/loss" in row
    ]
    assert len(sent) == len(set(sent))
    assert set(range(21, 41)) <= set(sent)
    assert read_json(memory)["finished"]


def test_it_ends_when_the_runner_dies(plan: Plan, store: Store) -> None:
    mirror = Mirror(store.out, plan).__enter__()
    process = mirror._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()  # As the system does with a process that is gone.
    assert process.wait(30) == 0


def test_nothing_leaves_the_machine_without_a_key(
    plan: Plan, store: Store, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    leave_training(store, plan, stage(plan, "isic/0.1/s1/ldt/member1"), range(1, 21))
    with Mirror(store.out, plan):
        pass
    assert len(read_runs(store.out)) == 2
    assert server.requests == 0


def test_a_server_that_refuses_leaves_offline_runs(
    plan: Plan,
    store: Store,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    leave_training(store, plan, stage(plan, "isic/0.1/s1/ldt/member1"), range(1, 21))
    with Mirror(store.out, plan):
        pass
    assert server.requests > 0
    assert sorted(run.job_type for run in read_runs(store.out)) == ["report", "train"]
    assert not caplog.records


def test_a_server_that_is_not_there_leaves_offline_runs(
    plan: Plan, store: Store, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.shutdown()
    server.server_close()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with Mirror(store.out, plan):
        leave_training(store, plan, stage(plan, "isic/0.1/s1/ldt/member1"), range(1, 21))
    assert len(read_runs(store.out)) == 2


def test_a_broken_wandb_is_one_warning(
    tmp_path: Path,
    plan: Plan,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "wandb.py").write_text("raise RuntimeError('broken')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    with caplog.at_level(logging.WARNING), Mirror(store.out, plan):
        leave_training(store, plan, stage(plan, "isic/0.1/s1/ldt/member1"), range(1, 21))
    assert len(caplog.records) == 1
    log = store.out / "wandb" / "mirror.log"
    assert str(log) in caplog.text
    assert "RuntimeError: broken" in log.read_text()


def test_a_folder_that_cannot_be_written_is_one_warning(
    tmp_path: Path, plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with Mirror(tmp_path / "file", plan):
        pass
    assert len(caplog.records) == 1


def test_results_that_make_no_table_are_one_warning(
    plan: Plan, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    final = plan.graph[plan.cell("isic/0.1/ldt").finals[1]]
    finish(store, plan, final, {"metric": "iou"})
    with Mirror(store.out, plan):
        pass
    assert ["the tables are not mirrored" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_it_can_be_switched_off(
    plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "environment":
        monkeypatch.setenv("WANDB_MODE", "disabled")
    with Mirror(store.out, plan, enabled=by == "environment"):
        pass
    assert not (store.out / "wandb").exists()


def test_every_training_and_labelling_of_the_plan_has_a_card(tmp_path: Path) -> None:
    plan = make_tiny_plan(tmp_path, methods=["ldt", "im"], data=["cells"], seeds=[1])
    found = cards(plan)
    assert {card["kind"] for card in found} == {"train", "pseudo-label"}
    assert len(found) == sum(one.kind in ("train", "pseudo-label") for one in plan.graph)
    assert len({card["key"][:16] for card in found}) == len(found)
