"""Faults of Weights & Biases: a server that refuses, is silent, breaks off, or has broken down."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from im_bench.report.tracking.mirror import WAIT_SECONDS

from .arena import Rule, rules, struck
from .disk import small_disk
from .trainings import Trainings

ANSWERS = {
    "silent": None,  # takes connections and says nothing
    "breaks off": b"",
    "broken": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    "forbids": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "talks nonsense": b"\x00\xff" * 50,
    "slow": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
}
#: Seconds beyond which a run with a tracker counts as slowed: more than machines differ.
SLACK = 60.0


def lose_tracking(ground: Trainings) -> None:
    """Run with a key for a server that does not do what it should."""
    how = ground.chance.choice((*ANSWERS, "refuses"))
    with server(how) as port:
        began = time.monotonic()
        runner = ground.start(
            WANDB_MODE="online",
            WANDB_BASE_URL=f"http://127.0.0.1:{port}",
            WANDB_API_KEY="0" * 40,
        )
        assert ground.ended(runner) == 0, ground.said(runner)
        seconds = time.monotonic() - began
    ground.note(f"W&B's server: {how}")
    assert seconds < 3 * ground.calm.seconds + WAIT_SECONDS + SLACK, ground.said(runner)
    before = {path: path.read_bytes() for path in ground.found("result.json")}
    ground.check(before)
    ground.settle()


def fill_tracking(ground: Trainings) -> None:
    """Give Weights & Biases a disk that is full at once, or refuse writes of the mirror."""
    if ground.chance.random() < 0.5:
        names = (r"mirror\..*", r".*-stages\.json.*", r".*-report\.json.*", r"\.?wandb\.json.*")
        rule = Rule(
            what="open", name=ground.chance.choice(names), after=0, times=1000, action="ENOSPC"
        )
        runner = ground.start(WANDB_MODE="offline", **rules(ground, rule))
        assert ground.ended(runner) == 0, ground.said(runner)
        if struck(ground, rule):
            ground.note(f"ENOSPC for {rule['name']}")
        ground.settle()
        return
    with small_disk(ground.out / "wandb", "64k"):
        runner = ground.start(WANDB_MODE="offline")
        assert ground.ended(runner) == 0, ground.said(runner)
        ground.note("W&B's folder on a full disk")
        ground.quiet()
        ground.settle()


@contextmanager
def server(how: str) -> Iterator[int]:
    """Give the port of a server of that kind."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        if how != "refuses":
            listener.listen()
            threading.Thread(target=serve, args=(listener, how), daemon=True).start()
        yield listener.getsockname()[1]


def serve(listener: socket.socket, how: str) -> None:
    """Answer everybody until the listener is closed."""
    kept = []
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        answer = ANSWERS[how]
        if answer is None:
            kept.append(connection)
            continue
        threading.Thread(target=reply, args=(connection, answer, how), daemon=True).start()


def reply(connection: socket.socket, answer: bytes, how: str) -> None:
    """Answer one connection."""
    with connection, suppress(OSError):
        if not answer:
            return
        connection.recv(1 << 16)
        connection.sendall(answer)
        while how == "slow":
            time.sleep(1)
            connection.sendall(b" ")
