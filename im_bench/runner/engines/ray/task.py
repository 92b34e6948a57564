"""What a Ray worker does for a stage: start its process, and stand by."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import ray

import im_bench
from im_bench.errors import ImBenchError
from im_bench.runner.engines.commands import stage_command

#: Seconds until a folder that was just written is visible on every machine that shares it.
VISIBLE_SECONDS = 5.0


def run_stage(path: str) -> int:
    """Run a stage in a process of its own, and return its exit status.

    The process holds the other end of a pipe from this one. So it stops at its next safe point when
    this worker dies, and also when Ray cancels the task.

    Args:
        path: The stage's folder.

    Raises:
        ImBenchError: This node does not see the folder.
    """
    # Ray cancels by what looks like Ctrl-C, which a worker ignores if the node was started so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(path)
    _await(folder / "stage.json")
    with (folder / "log.txt").open("ab") as log:  # for what is said before it is redirected
        process = subprocess.Popen(
            stage_command(folder, "--log", "--lifeline"),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=_environment(),
        )
    while True:
        try:
            return process.wait(0.5)
        except subprocess.TimeoutExpired:
            continue
        except KeyboardInterrupt:
            if process.stdin:
                process.stdin.close()


def _await(file: Path) -> None:
    deadline = time.monotonic() + VISIBLE_SECONDS
    while not file.exists():
        if time.monotonic() > deadline:
            raise ImBenchError(
                f"{file.parent} does not exist on the Ray node {socket.gethostname()}: mount the "
                "results folder there under the same path, or stop that node"
            )
        time.sleep(0.2)


def _environment() -> dict[str, str]:
    """Return the worker's environment, with im-bench where this process found it.

    Ray has set ``CUDA_VISIBLE_DEVICES`` to the task's GPUs, but for a task without any it may leave
    all of them visible.
    """
    found = [str(Path(str(im_bench.__file__)).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, found))}
    if not ray.get_gpu_ids():
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment
