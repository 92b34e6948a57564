"""Logs: the stage that matters, the end of a file, and what is added to it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from im_bench.runner.attempt import run_attempt
from im_bench.runner.logs import follow, last_lines, stages_with_log
from im_bench.runner.store import Store
from im_bench.suites.graph import Graph


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("a\nb\nc\n", 2, "b\nc\n"),
        ("a\nb\nc", 2, "b\nc"),
        ("a\nb\nc\n", 9, "a\nb\nc\n"),
        ("a\nb\n", 0, ""),
        ("", 3, ""),
        ("\n\n\n", 2, "\n\n"),
        ("x" * 200_000 + "\nlast\n", 1, "last\n"),
        ("first\n" + "x" * 200_000 + "\nlast\n", 2, "x" * 200_000 + "\nlast\n"),
    ],
)
def test_the_end_of_a_file(text: str, count: int, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text(text)
    assert last_lines(path, count) == (expected, len(text))


def test_running_goes_before_failed_before_the_newest(store: Store) -> None:
    graph = Graph()
    done, old, runs = (
        graph.add("add", slug, {"value": len(slug)}) for slug in ("done", "old", "still")
    )
    failed = graph.add("fail", "failed", {"how": "bug"})
    without = graph.add("add", "without", {"value": 9})
    for age, stage in enumerate((done, runs, failed, old)):
        folder = store.prepare(stage, graph)
        if stage is not runs:
            run_attempt(folder.path, threading.Event())
        folder.log.write_text(stage.slug)
        os.utime(folder.log, (1000 - age, 1000 - age))
    store.prepare(without, graph)
    with store.folder(runs).lock():
        assert stages_with_log(list(graph), store) == [runs, failed, done, old]
    assert stages_with_log(list(graph), store) == [failed, done, runs, old]


def test_follows_until_nobody_runs_the_stage(store: Store) -> None:
    graph = Graph()
    stage = graph.add("add", "stage", {"value": 1})
    folder = store.prepare(stage, graph)
    log = folder.log
    log.write_bytes("seen: ü".encode()[:-1])
    with folder.lock():
        told = follow(stage, store, 5, pause=0.01)
        log.write_bytes("seen: ü\n".encode())  # The letter's second byte comes late.
        assert next(told) == " ü\n"
        with log.open("a") as file:
            file.write("more\n")
        assert next(told) == "more\n"
        with log.open("a") as file:
            file.write("last\n")
    assert list(told) == ["last\n"]
