"""Real offline runs, written by the real mirror process and read back."""

from __future__ import annotations

import http.server
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from im_bench.files import read_json, write_json
from im_bench.planning.loading import load_suite
from im_bench.planning.plan import Plan, plan_cells
from im_bench.report.tracking.cards import Cards
from im_bench.report.tracking.mirror import Mirror
from im_bench.runner.events import Event, EventKind
from im_bench.runner.store import Store
from im_bench.suites.graph import Graph, Stage

from ..conftest import Score
from ..results import (
    finish,
    leave_pseudo_labels,
    leave_training,
    make_tiny_plan,
    outcome_of,
)
from .wandb_reader import OfflineRun, read_runs, read_tables


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


def told(mirror: Mirror, what: EventKind, *stages: Stage, detail: str = "") -> None:
    """Tell a mirror what the runner would."""
    for one in stages:
        mirror(Event(what, one, detail))


def only(out: Path, job_type: str) -> OfflineRun:
    (found,) = (run for run in read_runs(out) if run.job_type == job_type)
    return found


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_a_suite_becomes_runs_and_a_report(plan: Plan, store: Store, score: Score) -> None:
    member = stage(plan, "isic/0.1/s1/ldt/member1")
    labels = stage(plan, "isic/0.1/s1/im/g1-labels")
    final = plan.graph[plan.cell("isic/0.1/im").finals[1]]
    with Mirror(store.out, plan) as mirror:
        leave_training(store, plan, member, range(1, 21))
        leave_pseudo_labels(store, plan, labels)
        score("isic/0.1/im", 1, 0.7, 0.8, shares=[0.5, 0.6])
        told(mirror, EventKind.STARTED, member, labels, final)
        told(mirror, EventKind.DONE, member, labels, final)
    runs = {run.job_type: run for run in read_runs(store.out)}
    assert set(runs) == {"train", "pseudo-label", "report"}

    train = runs["train"]
    assert (train.id, train.name) == (member.key[:16], member.slug)
    assert (train.group, train.project) == ("isic/0.1/ldt/s1", "im-bench")
    assert set(train.tags) == {"tiny", "budget-equal", "isic", "s1", "ldt", "im"}
    assert train.config["stage"] == read_json(store.folder(member).path / "stage.json")["config"]
    flat = ("suite", "budget", "data", "split", "seed", "method")
    assert [train.config[key] for key in flat] == ["tiny", "equal", "isic", "0.1", 1, "ldt"]
    assert train.metrics["*"] == "iter"
    losses = [(row["iter"], row["train/loss"]) for row in train.history if "train/loss" in row]
    assert losses == [(i, 1 / i) for i in range(1, 21)]
    scores = [(row["iter"], row["val/iou"]) for row in train.history if "val/iou" in row]
    assert scores == [(10, 0.1), (20, 0.2)]
    assert train.exit_code == 0
    assert train.summary["result/val/iou"] == 0.2

    shows = {"train": "image, truth, prediction", "pseudo-label": "image, each teacher"}
    for job_type, count in (("train", 2), ("pseudo-label", 3)):
        run = runs[job_type]
        shown = next(row["samples"] for row in run.history if "samples" in row)
        assert shown["count"] == len(shown["captions"]) == count
        assert shown["captions"][0].startswith(f"sample-0: {shows[job_type]}")
        for name in shown["filenames"]:
            assert (run.folder / "files" / name).stat().st_size > 0
    assert runs["pseudo-label"].summary["result/images_kept"] == 0.5

    (results,) = read_tables(runs["report"], "results")
    assert len(results) == 8
    ours = next(row for row in results if row["mean"] is not None)
    assert (ours["method"], ours["mean"], ours["n"], ours["state"]) == ("im", 0.8, 1, "no data")
    (generations,) = read_tables(runs["report"], "generations")
    assert [row["images_kept"] for row in generations] == [0.5, 0.6]
    assert runs["report"].config["declared"]["name"] == "tiny"
    assert runs["report"].config["notes"]


def test_a_second_time_doubles_nothing(plan: Plan, store: Store, score: Score) -> None:
    member = stage(plan, "isic/0.1/s1/ldt/member1")
    leave_training(store, plan, member, range(1, 21))
    for _ in range(2):
        with Mirror(store.out, plan) as mirror:
            told(mirror, EventKind.PRESENT, member)
    assert sorted(run.job_type for run in read_runs(store.out)) == ["report", "train"]
    score("isic/0.1/ldt", 1, 0.7)
    with Mirror(store.out, plan) as mirror:
        told(mirror, EventKind.PRESENT, member)
    assert sorted(run.job_type for run in read_runs(store.out)) == ["report", "report", "train"]


def test_what_is_sent_is_not_looked_at_again(plan: Plan, store: Store) -> None:
    member, other = (stage(plan, f"isic/0.1/s1/ldt/member{k}") for k in (1, 2))
    leave_training(store, plan, member, range(1, 21))
    with Mirror(store.out, plan) as mirror:
        told(mirror, EventKind.PRESENT, member)
    (store.folder(member).path / "wandb.json").unlink()  # Whoever looks sends it again.
    leave_training(store, plan, other, range(1, 21))
    with Mirror(store.out, plan) as mirror:
        told(mirror, EventKind.PRESENT, member, other)
    trained = [run.name for run in read_runs(store.out) if run.job_type == "train"]
    assert trained == [member.slug, other.slug]
    with Mirror(store.out, plan) as mirror:  # What runs anew is looked at, whatever was sent.
        told(mirror, EventKind.STARTED, member)
        told(mirror, EventKind.DONE, member)
    assert (store.folder(member).path / "wandb.json").exists()


def test_a_suite_is_seen_while_it_runs(
    plan: Plan, store: Store, score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = plan.graph[plan.cell("cells/0.1/ldt").finals[1]]
    member, other = (stage(plan, f"cells/0.1/s1/ldt/member{k}") for k in (1, 2))
    failing = stage(plan, "cells/0.1/s2/ldt/member1")
    skipped = plan.graph[plan.cell("cells/0.1/ldt").finals[2]]
    with (
        Mirror(store.out, plan) as mirror,
        store.prepare(member, plan.graph).lock(),
    ):
        told(mirror, EventKind.STARTED, member)
        # The table of cells is there before anything is done.
        wait_for(lambda: list(store.out.glob("wandb/offline-run-*/files/media/table/cells_*")))
        told(mirror, EventKind.FAILED, failing, detail="the masks are upside down")
        told(mirror, EventKind.SKIPPED, skipped, detail=f"needs {failing.slug}, which failed")
        for one in (member, other):
            folder = leave_training(store, plan, one, range(1, 21))
            write_json(
                folder / "result.json",
                {**read_json(folder / "result.json"), "seconds_in_all": 2.5},
            )
        path = score("cells/0.1/ldt", 1, 0.7, metric="mcce") / "result.json"
        write_json(path, {**read_json(path), "seconds_in_all": 0.5})
        told(mirror, EventKind.DONE, member, other, final)
    run = only(store.out, "report")
    first, *_, last = read_tables(run, "cells")
    key = {"method": "ldt", "data": "cells", "split": "0.1", "seed": 1}

    def row(table: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
        (found,) = (one for one in table if wanted.items() <= one.items())
        return found

    assert row(first, **key)["state"] == "running"
    assert row(last, **key) == {
        **key,
        "state": "done",
        "metric": "mcce",
        "score": 0.7,
        "seconds": 5.5,
        "runs": f"{member.key[:16]} {other.key[:16]}",
        "link": "",
        "reason": "",
    }
    gone = row(last, **{**key, "seed": 2})
    assert (gone["state"], gone["reason"]) == ("failed", f"needs {failing.slug}, which failed")
    assert row(last, data="isic", method="im", seed=1)["state"] == "no data"
    (failures,) = read_tables(run, "failures")
    assert failures == [
        {
            "stage": failing.slug,
            "run": failing.key[:16],
            "reason": "the masks are upside down",
        }
    ]
    counts = [row["stages/done"] for row in run.history if "stages/done" in row]
    hours = [row["hours"] for row in run.history]
    assert counts[0] == 0
    assert counts[-1] == 3
    assert hours == sorted(hours)
    assert run.metrics["*"] == "hours"
    assert run.summary["stages/failed"] == 1
    assert run.exit_code == 0


def test_the_curves_of_a_suite_go_on_after_a_stop(plan: Plan, store: Store) -> None:
    for k in (1, 2):
        member = stage(plan, f"isic/0.1/s1/ldt/member{k}")
        with Mirror(store.out, plan) as mirror:
            told(mirror, EventKind.STARTED, member)
            leave_training(store, plan, member, range(1, 21))
            told(mirror, EventKind.DONE, member)
    parts = [run for run in read_runs(store.out) if run.job_type == "report"]
    assert len(parts) == 2
    assert len({run.id for run in parts}) == 1
    assert all(run.resume for run in parts)  # So that `wandb sync` appends the second one.
    hours = [row["hours"] for run in parts for row in run.history]
    assert hours == sorted(hours)


def test_the_end_of_a_suite_has_files_and_the_page(plan: Plan, store: Store, score: Score) -> None:
    for cell, value in (("isic/0.1/ldt", 0.7), ("isic/0.1/im", 0.8)):
        for seed in (1, 2, 3):
            score(cell, seed, value)
    page = store.out / "report" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("<p>all of it</p>")
    for _ in range(2):
        with Mirror(store.out, plan):
            pass
    run = only(store.out, "report")
    (best,) = read_tables(run, "best")
    assert [(row["data"], row["method"], row["mean"]) for row in best] == [
        ("isic", "im", pytest.approx(0.8))
    ]
    assert run.summary["best/isic"] == best[0]["title"]
    (shown,) = (row["page"] for row in run.history if "page" in row)
    assert "all of it" in (run.folder / "files" / shown["path"]).read_text()
    logged = {one.type: one for one in run.artifacts}
    assert {entry.path for entry in logged["tables"].manifest.contents} == {
        "results.csv",
        "generations.csv",
        "cells.csv",
    }
    assert [entry.path for entry in logged["report"].manifest.contents] == ["index.html"]
    page.write_text("<p>more of it</p>")
    with Mirror(store.out, plan):
        pass
    assert len(read_runs(store.out)) == 2


@pytest.mark.parametrize("wanted", [False, True])
def test_networks_are_logged_where_that_is_wanted(plan: Plan, store: Store, wanted: bool) -> None:
    member = stage(plan, "isic/0.1/s1/ldt/member1")
    folder = leave_training(store, plan, member, range(1, 21))
    (folder / "best.pth").write_bytes(b"a network")
    for checkpoints in (False, wanted, wanted):
        with Mirror(store.out, plan, checkpoints=checkpoints) as mirror:
            told(mirror, EventKind.PRESENT, member)
    parts = [run for run in read_runs(store.out) if run.job_type == "train"]
    models = [one for run in parts for one in run.artifacts if one.type == "model"]
    assert len(models) == wanted
    if wanted:
        assert models[0].name == f"isic.0.1.s1.ldt.member1-{member.key[:16]}"
        assert [entry.path for entry in models[0].manifest.contents] == ["best.pth"]
        metadata = json.loads(models[0].metadata)
        assert metadata["method"] == "ldt"
        assert metadata["outcome"]["val"] == {"iou": 0.2}
    losses = [row["iter"] for run in parts for row in run.history if "train/loss" in row]
    assert losses == list(range(1, 21))


def test_a_killed_mirror_doubles_nothing(plan: Plan, store: Store) -> None:
    running = stage(plan, "isic/0.1/s1/ldt/member1")
    memory = store.folder(running).path / "wandb.json"
    with store.prepare(running, plan.graph).lock():
        leave_training(store, plan, running, range(1, 21), done=False)
        with Mirror(store.out, plan) as mirror:
            told(mirror, EventKind.STARTED, running)
            wait_for(memory.exists)
            process = mirror._process
            assert process is not None
            os.killpg(process.pid, signal.SIGKILL)
    leave_training(store, plan, running, range(1, 41))
    with Mirror(store.out, plan) as mirror:
        told(mirror, EventKind.PRESENT, running)
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
    member = stage(plan, "isic/0.1/s1/ldt/member1")
    leave_training(store, plan, member, range(1, 21))
    with Mirror(store.out, plan) as mirror:
        told(mirror, EventKind.PRESENT, member)
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
    member = stage(plan, "isic/0.1/s1/ldt/member1")
    leave_training(store, plan, member, range(1, 21))
    with Mirror(store.out, plan) as mirror:
        told(mirror, EventKind.PRESENT, member)
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
    member = stage(plan, "isic/0.1/s1/ldt/member1")
    leave_training(store, plan, member, range(1, 21))
    with Mirror(store.out, plan) as mirror:
        told(mirror, EventKind.PRESENT, member)
    assert len(read_runs(store.out)) == 2


def test_a_server_that_never_answers_is_given_up(
    plan: Plan,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    member = stage(plan, "isic/0.1/s1/ldt/member1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        with Mirror(store.out, plan, patience=3) as mirror:
            leave_training(store, plan, member, range(1, 21))
            for _ in range(20_000):  # More than a pipe holds: the suite does not wait for it.
                told(mirror, EventKind.STARTED, member)
            told(mirror, EventKind.DONE, member)
    assert ["gave up waiting" in record.message for record in caplog.records] == [True]


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


@pytest.mark.parametrize("late", [False, True])
def test_cells_that_come_while_it_runs_are_mirrored_once_in_the_group_of_their_study(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Also where the plan has grown before the mirror's thread has read anything of it."""
    ready, write = threading.Event(), Mirror._write

    def write_when_ready(mirror: Mirror) -> None:
        ready.wait(30)
        write(mirror)

    monkeypatch.setattr(Mirror, "_write", write_when_ready)
    whole = make_tiny_plan(tmp_path, methods=["ldt"], data=["isic"], seeds=[1])
    plan = replace(whole, cells=[], graph=Graph())
    method = load_suite(plan.path)[1]["ldt"]
    with Mirror(store.out, plan, group="study-1") as mirror:
        if not late:
            ready.set()
        for seen, (name, members) in enumerate({"ldt": 1, "ldt-t1": 3}.items(), 1):
            own = method.model_copy(update={"members": members})
            cells = plan_cells(plan, {name: own}, store.out, tmp_path / "data", data=["isic"])
            mirror.extend(cells, total=3 * seen)
            trainings = [one for one in plan.stages_of(cells[0]) if one.kind == "train"]
            for one in trainings:
                leave_training(store, plan, one, range(1, 21))
            final = plan.graph[cells[0].finals[1]]
            finish(store, plan, final, outcome_of("iou", [0.5 + seen / 10]))
            told(mirror, EventKind.STARTED, *trainings)
            told(mirror, EventKind.DONE, *trainings, final)
        ready.set()
    trained = [run for run in read_runs(store.out) if run.job_type == "train"]
    assert {run.group for run in trained} == {"study-1"}
    assert {run.id for run in trained} == {
        stage.key[:16] for stage in plan.graph if stage.kind == "train"
    }
    *_, last = read_tables(only(store.out, "report"), "cells")
    found = [(row["method"], row["score"]) for row in last if row["seed"] == 1]
    assert found == [("ldt", 0.6), ("ldt-t1", 0.7)]


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
    cards = Cards(plan)
    found = [card for one in plan.graph if (card := cards.card(one))]
    assert {card.kind for card in found} == {"train", "pseudo-label"}
    assert len(found) == sum(one.kind in ("train", "pseudo-label") for one in plan.graph)
    assert len({card.id for card in found}) == len(found)
    tags = {card.slug.removeprefix("cells/0.1/s1/"): set(card.tags) for card in found}
    assert {"ldt", "im"} <= tags["ldt/member1"]
    assert "ldt" not in tags["im/g1-student1"]
