"""Offline runs are uploaded by the real `wandb sync`, to a server that keeps what it is sent."""

from __future__ import annotations

import fcntl
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb

from im_bench.cli.app import main
from im_bench.planning.plan import Plan
from im_bench.report.tracking.cards import Cards
from im_bench.report.tracking.mirror import Mirror
from im_bench.report.tracking.runs import StageMirror
from im_bench.report.tracking.sync import OfflineRuns
from im_bench.report.tracking.tracker import Tracker
from im_bench.runner.events import Event, EventKind
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage

from ..results import SUITE, leave_training
from .wandb_reader import read_runs
from .wandb_server import Server, serving

SLUG = "cells/0.1/s1/ldt/member1"


@pytest.fixture(autouse=True)
def no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the account of whoever runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    wandb.teardown()  # Settings are read once.


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving() as one:
        monkeypatch.setenv("WANDB_BASE_URL", one.url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        wandb.teardown()
        yield one
    wandb.teardown()


@pytest.fixture
def member(plan: Plan) -> Stage:
    return next(one for one in plan.graph if one.slug == SLUG)


def sync(*arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run the command in this process, and return its status and what it said."""
    from unittest.mock import patch

    words = ["im-bench", "sync", *map(str, arguments)]
    with patch("sys.argv", words), pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out + said.err


def record(plan: Plan, store: Store, member: Stage, upto: int, done: bool) -> None:
    """Record a training up to an iteration, as a mirror that knows only what lies on disk."""
    card = Cards(plan).card(member)
    assert card is not None
    with store.prepare(member, plan.graph).lock():
        leave_training(store, plan, member, range(1, upto + 1), done=done)
        mirror = StageMirror(card, store.stages, Tracker(store.out))
        mirror.update()
    mirror.update()
    mirror.close()
    wandb.teardown()


def test_an_interrupted_training_becomes_one_curve_and_nothing_is_sent_twice(
    plan: Plan,
    store: Store,
    member: Stage,
    server: Server,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record(plan, store, member, 30, done=False)
    record(plan, store, member, 50, done=True)
    assert len(read_runs(store.out)) == 2
    before = [run.history for run in read_runs(store.out)]

    status, said = sync("--out", store.out, "--dry-run", capsys=capsys)
    assert (status, server.requests) == (0, 0)
    assert "2 parts of runs would be uploaded" in said

    assert sync("--out", store.out, capsys=capsys)[0] == 0
    rows = server.history(member.key[:16])
    assert [row["iter"] for row in rows if "train/loss" in row] == list(range(1, 51))
    # The server keeps rows by W&B's own step: the second part must not start anew.
    assert [row["_step"] for row in rows] == list(range(len(rows)))
    assert all("iter" in row for row in rows)
    assert sum(name.endswith(".png") for name in server.uploads[member.key[:16]]) == 2

    asked = server.requests
    status, said = sync("--out", store.out, capsys=capsys)
    assert (status, said) == (0, "nothing is left to upload\n")
    assert server.requests == asked + 1  # Whether the key is good.
    assert len(server.history(member.key[:16])) == len(rows)
    assert [run.history for run in read_runs(store.out)] == before


def test_a_copy_of_the_folder_is_not_sent_again(
    tmp_path: Path, plan: Plan, store: Store, member: Stage, server: Server
) -> None:
    record(plan, store, member, 10, done=False)
    assert OfflineRuns(store.out).upload().sent == 1
    for path in store.out.rglob("*"):
        path.touch()
    copy = tmp_path / "copy"
    shutil.copytree(store.out, copy, copy_function=shutil.copyfile)
    assert OfflineRuns(copy).unsent() == []
    record(plan, store, member, 20, done=True)
    (left,) = OfflineRuns(store.out).unsent()
    assert left.folder.name not in {path.name for path in copy.glob("wandb/*")}


def test_what_the_server_refuses_is_left_for_the_next_time(
    plan: Plan, store: Store, member: Stage, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    record(plan, store, member, 10, done=True)
    server.refuses = True
    status, said = sync("--out", store.out, capsys=capsys)
    assert status == 2
    assert "refuses the key" in said
    synced = OfflineRuns(store.out).upload()  # As if the key was good a moment before.
    assert (synced.sent, synced.left) == (0, 1)
    server.refuses = False
    assert sync("--out", store.out, capsys=capsys)[0] == 0
    rows = server.history(member.key[:16])
    assert [row["iter"] for row in rows if "train/loss" in row] == list(range(1, 11))


def test_a_server_that_never_answers_is_given_up(
    plan: Plan,
    store: Store,
    member: Stage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from im_bench.report.tracking import sync as wandb_sync

    record(plan, store, member, 10, done=True)
    monkeypatch.setattr(wandb_sync, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(wandb_sync, "STUCK_SECONDS", 5.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        wandb.teardown()
        status, said = sync("--out", store.out, capsys=capsys)
        assert status == 2
        assert f"{url} gives no answer" in said
        synced = OfflineRuns(store.out).upload()
        assert (synced.sent, synced.left) == (0, 1)


def test_sentences_without_key_network_or_folder(
    tmp_path: Path,
    plan: Plan,
    store: Store,
    member: Stage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, said = sync("--out", tmp_path / "none", capsys=capsys)
    assert (status, "there is no results folder" in said) == (2, True)
    record(plan, store, member, 10, done=True)
    status, said = sync("--out", store.out, capsys=capsys)
    assert (status, "no key" in said, "wandb login" in said) == (2, True, True)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    wandb.teardown()
    status, said = sync("--out", store.out, capsys=capsys)
    assert (status, "cannot be reached" in said) == (2, True)


def test_nothing_is_uploaded_while_a_mirror_writes(
    plan: Plan, store: Store, member: Stage, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    record(plan, store, member, 10, done=False)
    with (store.out / "wandb" / "mirror.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        status, said = sync("--out", store.out, capsys=capsys)
    assert (status, "at this moment" in said) == (2, True)
    assert not server.lines


def test_with_a_suite_what_was_never_mirrored_is_recorded_first(
    tmp_path: Path,
    plan: Plan,
    store: Store,
    member: Stage,
    server: Server,
    capsys: pytest.CaptureFixture[str],
) -> None:
    leave_training(store, plan, member, range(1, 21))
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE)
    options = ("--suite", path, "--out", store.out, "--data-root", tmp_path / "data")
    for _ in range(2):
        assert sync(*options, capsys=capsys)[0] == 0
        rows = server.history(member.key[:16])
        assert [row["iter"] for row in rows if "train/loss" in row] == list(range(1, 21))
    assert len(read_runs(store.out)) == 2


def test_a_suite_is_seen_on_the_server_while_it_runs(
    plan: Plan, store: Store, member: Stage, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    with Mirror(store.out, plan) as mirror:
        mirror(Event(EventKind.STARTED, member))
        leave_training(store, plan, member, range(1, 21))
        mirror(Event(EventKind.DONE, member))
    assert not list(store.out.glob("wandb/offline-run-*"))
    rows = server.history(member.key[:16])
    assert [row["iter"] for row in rows if "train/loss" in row] == list(range(1, 21))
    assert {f"run-{run}-cells" for run in server.lines} & set(server.artifacts.values())
