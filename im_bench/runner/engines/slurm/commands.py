"""The few commands of Slurm that the engine uses, and what they answer."""

from __future__ import annotations

import math
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from im_bench.errors import ImBenchError
from im_bench.runner.engines.options import SlurmOptions
from im_bench.suites.resources import Resources

#: Minutes that a job has beyond its stage's own limit, for starting and for a clean stop.
MARGIN_MINUTES = 5
#: How long a command may take; ``sbatch`` waits by itself while Slurm is busy.
COMMAND_SECONDS = 300.0

#: Refusals that say nothing against the job itself.
_MAY_PASS = ("contact slurm controller", "timed out", "temporarily", "QOS policy", "QOSMax")
#: What ``--test-only`` says also where all nodes that could run the job are down.
_NO_NODE = "node configuration is not available"
#: Variables that say which Slurm is meant, not which job this process runs in.
_WHICH_SLURM = {"SLURM_CONF", "SLURM_CLUSTERS"}

SbatchOptions = dict[str, "str | int | bool"]


@dataclass(frozen=True)
class JobState:
    """What Slurm says of a job.

    Attributes:
        name: Its state, such as ``RUNNING``.
        code: Its exit status; negative is the signal that killed it.
        why: What a waiting one waits for, in Slurm's words.
    """

    name: str
    code: int
    why: str

    @property
    def over(self) -> bool:
        """Whether it neither runs nor will."""
        return self.name in _OVER

    @property
    def stuck(self) -> bool:
        """Whether it will wait forever unless somebody changes it, or Slurm's set-up."""
        return self.name == "PENDING" and self.why in _NEVER

    @property
    def failed_to_launch(self) -> bool:
        """Whether a node could not even begin it, and Slurm holds it back since."""
        return self.name == "PENDING" and self.why.replace("_", " ").startswith("launch failed")


#: Reasons to wait of jobs that ``sbatch`` takes though they can never start.
_NEVER = {
    "AssocMaxWallDurationPerJobLimit",
    "BadConstraints",
    "InvalidAccount",
    "InvalidQOS",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "QOSMaxWallDurationPerJobLimit",
}
_OVER = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}


def sbatch_options(options: SlurmOptions, needs: Resources, alone: bool) -> SbatchOptions:
    """Return the options of ``sbatch``, by name, for a stage with these needs."""
    limit = options.minutes
    if needs.minutes is not None:
        limit = math.ceil(needs.minutes) + MARGIN_MINUTES
    chosen: SbatchOptions = {
        "time": limit,
        "cpus-per-task": needs.cpus or options.cpus,
        "requeue": True,
    }
    for name in ("partition", "account", "qos", "constraint"):
        if value := getattr(options, name):
            chosen[name] = value
    if gpus := gpus_of(options, needs):
        chosen["gres"] = f"gpu:{gpus}"
    if needs.memory is not None:
        chosen["mem"] = f"{math.ceil(needs.memory * 1024)}M"
    if alone:  # all of a node, its memory included
        chosen |= {"exclusive": True, "mem": 0}
    for name, value in options.extra.items():
        chosen[name.replace("_", "-")] = value or True
    return chosen


def gpus_of(options: SlurmOptions, needs: Resources) -> int:
    """Return how many GPUs a stage gets; jobs do not share them."""
    if options.device == "cpu" or options.gpus == 0:
        return 0
    return options.gpus if needs.gpus is None else math.ceil(needs.gpus)


def refusal(chosen: Mapping[str, str | int | bool]) -> str:
    """Return what Slurm has against the options of a job, or an empty string.

    Nodes are not looked at: where all are down, Slurm says that there are none, but takes the job.
    """
    flags = [f"--{k}" if value is True else f"--{k}={value}" for k, value in chosen.items()]
    done = _run(["sbatch", "--test-only", *flags, "--wrap=true"])
    refused = "" if done.returncode == 0 else reason(done.stderr)
    return "" if _NO_NODE in refused else refused


def reason(stderr: str) -> str:
    """Return the last thing that ``sbatch`` complains of, without its preambles."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and "--help" not in line]
    last = lines[-1] if lines else "it does not say why"
    return re.sub(
        r"^(sbatch: )?((error|fatal): )?((Batch job submission|allocation) fail\w+: )?", "", last
    )


def may_pass(refused: str) -> bool:
    """Return whether a refusal is about the moment rather than about the job."""
    return any(words.lower() in refused.lower() for words in _MAY_PASS)


def states(jobs: Iterable[str]) -> dict[str, JobState] | None:
    """Ask once for the states of all these jobs.

    Returns:
        States by job, without those that Slurm has forgotten; None if it does not answer.
    """
    numbers = sorted({job.partition("_")[0] for job in jobs})
    columns = "--Format=JobArrayID:64,State:32,exit_code:32,Reason:64"
    listed = f"--jobs={','.join(numbers)}"
    try:
        done = _run(["squeue", "--noheader", "--array", "--states=all", columns, listed])
    except ImBenchError:
        return None
    if done.returncode:
        return {} if "invalid job id" in done.stderr.lower() else None
    found = {}
    for line in done.stdout.splitlines():
        job, name, code, why = line.split(maxsplit=3)
        found[job] = JobState(name, _exit_code(code), why.strip())
    return found


def cancel(jobs: Iterable[str]) -> None:
    """Cancel jobs: running ones get SIGTERM, and SIGKILL when Slurm's ``KillWait`` is over."""
    if listed := list(jobs):
        _run(["scancel", "--quiet", *listed])


def _exit_code(text: str) -> int:
    """Return an exit status from ``status:signal``, or from what ``waitpid`` gives."""
    status, colon, number = text.partition(":")
    if colon:
        return -int(number) if int(number) else int(status)
    return os.waitstatus_to_exitcode(int(status))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of Slurm.

    Raises:
        ImBenchError: It is not there, or hangs.
    """
    try:
        with outside_of_jobs():
            return subprocess.run(
                command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
            )
    except FileNotFoundError:
        raise ImBenchError(
            f"there is no {command[0]} here: run this where Slurm's commands are, such as on a "
            "cluster's login node, or choose another --engine"
        ) from None
    except subprocess.TimeoutExpired:
        raise ImBenchError(f"{command[0]} does not answer: see whether Slurm is up") from None


@contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Hide what the environment says of a job that this process itself runs in."""
    hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith(("SLURM_", "SUBMITIT_")) and name not in _WHICH_SLURM
    }
    try:
        yield
    finally:
        os.environ.update(hidden)
