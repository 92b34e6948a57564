"""One attempt at a stage, and how each way to fail is told."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from im_bench.files import read_json, write_json
from im_bench.runner.attempt import DONE, FAILED, INTERRUPTED, run_attempt
from im_bench.runner.engines.local import LocalEngine
from im_bench.runner.engines.options import LocalOptions
from im_bench.runner.failures import TRACEBACK_LIMIT, Cause, bounded_traceback, explain_exit
from im_bench.runner.folder import StageFolder, Status
from im_bench.runner.job import Job, Settings
from im_bench.runner.locks import Lock
from im_bench.runner.plan_run import Retries
from im_bench.runner.scheduler import run_plan
from im_bench.runner.store import Store
from im_bench.suites.graph import Graph

from .stage_functions import LIGHT, plan_of
from .test_kill import ABOVE


def made(store: Store, kind: str, config: dict[str, Any]) -> StageFolder:
    graph = Graph()
    stage = graph.add(kind, "a/b/stage", config)
    return store.prepare(stage, graph)


def attempt(folder: StageFolder) -> int:
    return run_attempt(folder.path, threading.Event())


def test_leaves_result_and_provenance(store: Store) -> None:
    folder = made(store, "add", {"value": 3})
    folder.write_settings(Settings("cpu", 1))
    assert attempt(folder) == DONE
    result = folder.result()
    assert result is not None
    assert result["outcome"] == {"value": 3, "threads": 1}
    assert set(result) == {
        *(
            "key",
            "slug",
            "kind",
            "outcome",
            "seconds",
            "seconds_in_all",
            "attempts",
            "restarts",
            "finished",
            "sha256",
        )
    }
    (provenance,) = folder.provenances()
    assert {"python", "torch", "mmengine", "mmseg", "numpy"} <= set(provenance["versions"])
    assert provenance["versions"]["torch"]
    assert provenance["device"]
    before = (folder.path / "result.json").read_text()
    assert attempt(folder) == DONE
    assert (folder.path / "result.json").read_text() == before
    assert folder.attempts == 1


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("user", "the masks are upside down: turn them"),
        ("bug", "ZeroDivisionError: by zero"),
        ("memory", "too little memory: reduce batch or size, or run with fewer --slots"),
        ("cuda", "the GPU has too little memory: reduce batch or size"),
        ("disk", "is full: make room, then run again"),
        ("permission", "no permission: .*x.npy"),
        ("interrupted", "StageInterrupted"),
        ("exit", "SystemExit: 3"),
    ],
)
def test_every_failure_is_one_sentence(store: Store, how: str, sentence: str) -> None:
    folder = made(store, "fail", {"how": how})
    assert attempt(folder) == FAILED
    assert folder.status is Status.FAILED
    (error,) = folder.errors()
    assert "\n" not in error["message"]
    assert re.search(sentence, error["message"])
    assert "stage_functions.py" in error["traceback"]
    assert error["attempt"] == 1
    assert attempt(folder) == FAILED
    assert [error["attempt"] for error in folder.errors()] == [1, 2]


@pytest.mark.parametrize(
    ("config", "sentence"), [({}, "must return a dict"), ({"nan": True}, "not JSON compliant")]
)
def test_what_is_no_outcome_is_refused(store: Store, config: dict[str, Any], sentence: str) -> None:
    folder = made(store, "nothing", config)
    assert attempt(folder) == FAILED
    assert sentence in folder.errors()[0]["message"]


def test_stopping_as_asked_is_no_failure(store: Store) -> None:
    folder = made(store, "add", {"value": 1})
    stop = threading.Event()
    stop.set()
    assert run_attempt(folder.path, stop) == INTERRUPTED
    assert folder.status is Status.PLANNED
    assert attempt(folder) == DONE
    result = folder.result()
    assert result is not None
    assert (result["attempts"], result["restarts"]) == (2, 1)


def test_leaves_alone_what_another_runs(store: Store) -> None:
    folder = made(store, "add", {"value": 1})
    with Lock(folder.path / "lock"):
        assert folder.status is Status.RUNNING
        assert attempt(folder) == INTERRUPTED
    assert folder.attempts == 0


def test_a_stage_that_another_has_taken_over_writes_nothing_more(store: Store) -> None:
    folder = made(store, "stubborn", {})
    process = run_as_module(folder, IM_BENCH_LOCK_PATIENCE="0.5")
    assert process.stderr is not None
    process.stderr.readline()
    lock = Lock(folder.path / "lock")
    write_json(folder.path / "lock", {**vars(lock.owner), "host": "elsewhere", "beat": 0})
    assert process.wait(20) == INTERRUPTED
    assert "another process has taken over" in process.stderr.read()
    process.stderr.close()
    assert read_json(folder.path / "lock")["host"] == "elsewhere"


def test_what_a_kill_has_left_half_written_is_removed(store: Store) -> None:
    folder = made(store, "add", {"value": 1})
    (folder.path / ".best.pth.01234567.tmp").write_bytes(bytes(1000))
    (folder.path / ".samples.01234567.tmp").mkdir()
    another = folder.path / ".settings.json.01234567.tmp"
    another.touch()  # a runner may be writing it
    assert attempt(folder) == DONE
    assert list(folder.path.glob(".*.tmp")) == [another]


def test_a_dead_owners_lock_is_taken_over(store: Store) -> None:
    folder = made(store, "add", {"value": 1})
    lock = Lock(folder.path / "lock")
    write_json(folder.path / "lock", {**vars(lock.owner), "start": 1, "beat": 7})
    assert folder.status is Status.PLANNED
    assert attempt(folder) == DONE


def test_a_folder_without_a_stage(tmp_path: Path) -> None:
    assert attempt(StageFolder(tmp_path)) == FAILED
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "{}", '{"outcome": 3}', '{"key": "other", "outcome": {}}', "\x00\x01"]
)
def test_a_damaged_result_counts_as_not_done(store: Store, text: str) -> None:
    folder = made(store, "add", {"value": 1})
    (folder.path / "result.json").write_text(text)
    assert folder.status is Status.PLANNED
    assert "counts as not done" in folder.damage
    assert attempt(folder) == DONE
    assert folder.damage == ""


def test_a_result_in_which_a_digit_has_changed_counts_as_not_done(store: Store) -> None:
    folder = made(store, "add", {"value": 37})
    assert attempt(folder) == DONE
    path = folder.path / "result.json"
    path.write_text(path.read_text().replace('"value": 37', '"value": 73'))
    assert folder.status is Status.PLANNED
    assert "changed or damaged" in folder.damage
    assert attempt(folder) == DONE
    assert (folder.result() or {})["outcome"]["value"] == 37


def test_a_log_that_cannot_be_opened_is_no_matter(
    store: Store, engine: LocalEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    graph = Graph()
    stage = graph.add("add", "one", {"value": 1})
    store.prepare(stage, graph).log.mkdir()
    assert run_plan(plan_of(graph, {"a": stage}), store, engine).exit_code == 0
    assert capfd.readouterr().err == ""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting takes root")
    yield folder
    # Lazily: a stage's process that leaves still has its log open.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_loses_nothing_that_was_finished(small_disk: Path) -> None:
    store = Store(small_disk)
    graph = Graph()
    early = graph.add("add", "early", {"value": 5})
    fill = graph.add("fill", "fill", {}, {"x": [early]})
    late = graph.add("add", "late", {"value": 1}, {"x": [fill]})
    plan = plan_of(graph, {"a": late})
    engine = LocalEngine(LocalOptions(slots=1, device="cpu"), LIGHT)
    summary = run_plan(plan, store, engine, retries=Retries(attempts=1))
    assert summary.exit_code == 1
    assert summary.done == ["early"]
    assert "is full: make room" in summary.failed["fill"]
    assert summary.skipped == {"late": "needs fill, which failed"}
    early_result = store.result(early)
    assert early_result is not None
    assert early_result["outcome"]["value"] == 5
    assert {store.status(stage) for stage in (fill, late)} <= {Status.PLANNED, Status.FAILED}


def test_a_file_that_may_not_grow(store: Store) -> None:
    folder = made(store, "fill", {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        assert attempt(folder) == FAILED
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "is full: make room" in folder.errors()[0]["message"]


def run_as_module(folder: StageFolder, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "im_bench.runner.stage", str(folder.path)],
        cwd=ABOVE,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_as_a_process_of_its_own(store: Store) -> None:
    folder = made(store, "add", {"value": 1, "seconds": 60, "steps": 1200})
    process = run_as_module(folder)
    assert process.stderr is not None
    assert "attempt 1 at a/b/stage" in process.stderr.readline()
    while not (folder.path / "progress.json").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait() == INTERRUPTED
    assert "stopped as asked" in process.stderr.read()
    process.stderr.close()
    assert read_json(folder.path / "progress.json")["total"] == 1200
    assert not (folder.path / "lock").exists()


def test_progress_leaves_out_what_is_not_finite(tmp_path: Path) -> None:
    Job(tmp_path, {}).progress(2, 2, loss=float("nan"), images_per_second=3, eta_s=float("inf"))
    said = read_json(tmp_path / "progress.json")
    assert said.pop("seconds") >= 0
    assert said == {"step": 2, "total": 2, "images_per_second": 3}


def test_a_long_traceback_is_cut() -> None:
    try:
        raise ValueError("x" * 2 * TRACEBACK_LIMIT)
    except ValueError as error:
        text = bounded_traceback(error)
    assert len(text) < TRACEBACK_LIMIT + 10
    json.dumps(text)


def test_how_a_process_ended(tmp_path: Path) -> None:
    killed = explain_exit(-9, tmp_path).message
    assert killed.startswith("killed by signal 9 (SIGKILL); by somebody, or")
    short = explain_exit(-9, tmp_path, short_of_memory=True)
    assert (short.cause, "ran out of memory" in short.message) == (Cause.MEMORY, True)
    assert "crash in native code" in explain_exit(-11, tmp_path).message
    assert explain_exit(-64, tmp_path).message.startswith("killed by signal 64")
    assert "status 3" in explain_exit(3, tmp_path).message
