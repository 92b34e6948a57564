"""Locks: one holder, the dead are found out, the living are left alone."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from im_bench.runner.locks import STALE_SECONDS, Lock, LockedError, LockWatch
from im_bench.runner.owner import Owner


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def write(path: Path, owner: Owner, beat: int = 0) -> None:
    path.write_text(json.dumps({**vars(owner), "beat": beat}))


def changed(owner: Owner, **fields: object) -> Owner:
    return Owner(**{**vars(owner), **fields})  # type: ignore[arg-type]


def test_excludes_others_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with Lock(path):
        assert LockWatch(path).alive()
        with pytest.raises(LockedError, match=f"process {os.getpid()} on"), Lock(path):
            pass
    assert list(tmp_path.iterdir()) == []
    assert not LockWatch(path).alive()


def test_a_killed_holder_here_is_dead_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from im_bench.runner.locks import Lock\n"
        f"with Lock(Path({str(path)!r})): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert LockWatch(path).alive()
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # Dead, but not reaped: a zombie.
    assert not LockWatch(path).alive()
    with Lock(path) as lock:
        assert json.loads(path.read_text())["token"] == lock.owner.token
    holder.wait()
    holder.stdout.close()


def test_a_process_number_that_was_given_again_is_not_the_holder(tmp_path: Path) -> None:
    me = Owner.me()
    path = tmp_path / "lock"
    write(path, me)
    assert LockWatch(path).alive()
    write(path, changed(me, start=me.start - 1))
    assert not LockWatch(path).alive()


def test_a_distant_holder_is_dead_when_its_number_stands_still(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    clock = Clock()
    watch = LockWatch(path, clock)
    distant = changed(Owner.me(), host="elsewhere")
    for second in range(100):
        clock.now = second
        write(path, distant, beat=second // 2)
        assert watch.alive()
    os.utime(path, (0, 0))  # What a clock says is no matter.
    clock.now = 98 + STALE_SECONDS - 1
    assert watch.alive()
    clock.now += 2
    assert not watch.alive()
    write(path, distant, beat=50)
    assert watch.alive()


def test_a_holder_that_was_stopped_is_dead_after_a_while_and_finds_out(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from im_bench.runner.locks import Lock\n"
        f"lost = lambda: print('lost', flush=True)\n"
        f"with Lock(Path({str(path)!r}), lost, heartbeat=0.05) as lock:\n"
        "    print('held', flush=True); sys.stdin.read(); print(lock.held, flush=True)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGSTOP)
    while not Owner(**{**_fields(path)}).stands_still:
        pass
    clock = Clock()
    watch = LockWatch(path, clock)
    assert watch.alive()
    clock.now = STALE_SECONDS + 1
    assert not watch.alive()
    other = tmp_path / "other"
    write(other, changed(Owner.me(), host="elsewhere"))  # from where it cannot be ended
    other.replace(path)
    holder.send_signal(signal.SIGCONT)
    assert holder.stdout.readline() == "lost\n"
    assert holder.communicate()[0] == "False\n"
    assert path.exists()


def test_a_holder_that_stands_still_is_ended_before_another_has_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from im_bench.runner.locks import Lock\n"
        f"with Lock(Path({str(path)!r})): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    holder.send_signal(signal.SIGSTOP)
    while not Owner(**{**_fields(path)}).stands_still:
        pass
    with Lock(path, patience=0.2):
        # Awake again, it would write for some time before it noticed.
        assert holder.wait(10) == -signal.SIGKILL
    holder.stdout.close()


@pytest.mark.parametrize("seconds", ["long", "0", "-1", "nan", "inf"])
def test_a_wrong_patience_is_one_sentence(seconds: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "im_bench.cli.app", "run", "--suite", "quickstart"],
        env={**os.environ, "IM_BENCH_LOCK_PATIENCE": seconds},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"IM_BENCH_LOCK_PATIENCE={seconds}: set it" in done.stderr


def _fields(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    del content["beat"]
    return content


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff\x00"])
def test_an_unreadable_lock_is_dead_only_after_a_while(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lock"
    path.write_bytes(content)
    clock = Clock()
    watch = LockWatch(path, clock)
    assert watch.alive()
    clock.now = STALE_SECONDS + 1
    assert not watch.alive()


def test_taking_over_from_a_distant_holder_waits_and_sees(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    distant = changed(Owner.me(), host="elsewhere")
    write(path, distant)
    with Lock(path, heartbeat=0.01, patience=0.1) as lock:
        assert json.loads(path.read_text())["token"] == lock.owner.token

    write(path, distant)
    over = threading.Event()

    def live() -> None:
        beat = 0
        while not over.wait(0.005):
            beat += 1
            new = path.with_name("new")
            write(new, distant, beat)
            new.replace(path)

    alive = threading.Thread(target=live)
    alive.start()
    try:
        with pytest.raises(LockedError, match="on elsewhere"), Lock(path, None, 0.02, 30):
            pass
    finally:
        over.set()
        alive.join()


def test_of_many_that_take_over_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    dead = changed(Owner.me(), start=1)
    for _ in range(20):
        write(path, dead)
        barrier, done = threading.Barrier(8), threading.Barrier(8)
        won: list[str] = []

        def take(
            barrier: threading.Barrier = barrier,
            done: threading.Barrier = done,
            won: list[str] = won,
        ) -> None:
            barrier.wait()
            try:
                with Lock(path) as lock:
                    won.append(lock.owner.token)
                    done.wait()
            except LockedError:
                done.wait()

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert list(tmp_path.iterdir()) == []


def test_a_holder_that_was_thought_dead_notices_and_leaves_the_other_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lost = threading.Event()
    other = tmp_path / "other"
    with Lock(path, on_lost=lost.set, heartbeat=0.01):
        write(other, changed(Owner.me(), host="elsewhere"))
        other.replace(path)
        assert lost.wait(10)
    assert json.loads(path.read_text())["host"] == "elsewhere"


def test_a_disk_that_fails_for_a_while_does_not_take_the_lock_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, looked = threading.Event(), threading.Semaphore(0)

    def fail(path: Path) -> None:
        looked.release()
        raise OSError(errno.EIO, "Input/output error")

    with Lock(tmp_path / "lock", on_lost=lost.set, heartbeat=0.01) as lock:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "stat", fail)
            for _ in range(3):
                assert looked.acquire(timeout=10)
            assert not lock.held  # as nobody knows, nothing is written
        assert not lost.is_set()
        assert lock.held


def test_shows_signs_of_life(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    seen = set()
    with Lock(path, heartbeat=0.01):
        while len(seen) < 3:
            seen.add(json.loads(path.read_text())["beat"])
