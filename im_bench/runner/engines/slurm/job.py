"""What a Slurm job does: it runs a stage as a process, and hands on what Slurm asks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from im_bench.runner.attempt import DONE, FAILED, INTERRUPTED
from im_bench.runner.engines.commands import stage_command
from im_bench.runner.failures import explain_exit, oom_kills
from im_bench.runner.folder import StageFolder, Status

#: What Slurm sends before it ends a job (SIGTERM), and a minute or so before its time is over.
ASKED_BY = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)


@dataclass(frozen=True)
class StageJob:
    """The callable that submitit runs within a job; its exit status is the stage's.

    Asked to stop, the stage goes to its next safe point. If the job itself is still wanted, because
    it is its time that ends or another job that needs the place, it is put back into Slurm's queue
    and goes on from there. Slurm asks several times, which the stage must not take for impatience:
    it is in a session of its own, and asked by its lifeline alone.

    Attributes:
        path: The stage's folder.
    """

    path: Path

    def __call__(self) -> None:
        """Run the stage, and leave with its exit status."""
        sys.exit(self._run())

    def _run(self) -> int:
        theirs, lifeline = os.pipe()
        asked = False

        def ask(_number: int, _frame: FrameType | None) -> None:
            nonlocal asked
            if not asked:
                asked = True
                os.close(lifeline)

        for number in ASKED_BY:
            signal.signal(number, ask)
        folder = StageFolder(self.path)
        errors, kills = len(folder.errors()), oom_kills()
        with folder.log.open("a", encoding="utf-8") as log:
            log.write(f"Slurm job {job_id()} on {socket.gethostname()}\n")
        command = stage_command(self.path, "--log", "--lifeline")
        process = subprocess.Popen(command, stdin=theirs, start_new_session=True)
        os.close(theirs)
        code = process.wait()
        if asked and -code in ASKED_BY:  # while Python starts or ends, it cannot handle them
            code = INTERRUPTED
        if asked and code == INTERRUPTED:
            requeue_if_wanted(job_id())
        silent = folder.result() is None and len(folder.errors()) == errors
        if silent and code != INTERRUPTED and folder.status is not Status.RUNNING:
            # Only here is known how it died, and whether this node ran out of memory.
            folder.record_death(explain_exit(code, self.path, oom_kills() > kills))
        return code if code in (DONE, INTERRUPTED) else FAILED


def job_id() -> str:
    """Return how Slurm calls the job that this process runs in: ``123``, or ``123_4``."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    if array:
        return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]


def requeue_if_wanted(job: str) -> None:
    """Put a job back into the queue, unless it was cancelled or Slurm does so itself.

    Where that is impossible, the job just ends, and whoever runs the suite submits another.
    """
    state = ["squeue", "--noheader", f"--jobs={job}", "--format=%T"]
    if _said(state) == "RUNNING":
        _said(["scontrol", "requeue", job])


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
