"""A Slurm cluster of one node on this machine, for tests: real daemons, private ports."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
#: Two partitions over the same node; jobs of ``high`` drive out those of ``low``. Two "GPUs".
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/{tracked_by}
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MaxArraySize=5
KillWait=10
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 Gres=gpu:2
PartitionName=low Nodes=ALL Default=YES PriorityTier=1
PartitionName=high Nodes=ALL PriorityTier=10
PartitionName=graceful Nodes=ALL PriorityTier=1 GraceTime=60
PartitionName=short Nodes=ALL PriorityTier=1 MaxTime=5
"""


@dataclass(frozen=True)
class Cluster:
    """A running cluster; its commands find it by ``SLURM_CONF``.

    Attributes:
        folder: Where its daemons have their files.
    """

    folder: Path

    @property
    def config(self) -> str:
        """What ``SLURM_CONF`` must be."""
        return str(self.folder / "slurm.conf")

    def ask(self, *command: str) -> str:
        """Run a command of Slurm, and return what it prints."""
        environment = {**os.environ, "SLURM_CONF": self.config}
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
        return done.stdout.decode().strip()

    def jobs(self, *options: str) -> dict[str, str]:
        """Return the states of jobs that are not over, or of those that the options choose."""
        listed = self.ask("squeue", "--noheader", "--array", "--format=%i %T", *options)
        return dict(line.split() for line in listed.splitlines())


def missing() -> str:
    """Return what a cluster lacks on this machine, or an empty string."""
    absent = [name for name in DAEMONS if not _found(name)]
    return f"no {', '.join(absent)} here: see tests/system-packages.txt" if absent else ""


@contextmanager
def cluster(tracked_by: str = "linuxproc") -> Iterator[Cluster]:
    """Run a cluster for as long as the block does.

    Args:
        tracked_by: How Slurm finds a job's processes: ``linuxproc`` sends each of them what
            ``cgroup`` and ``pgid`` send the first alone.
    """
    # Not below pytest's folder: munge wants one that everybody may enter, and sockets a short name.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o711)
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(mode=0o711)
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    controller, node = _free_ports(2)
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File=/dev/tty[0-1]\n")
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    (folder / "slurm.conf").write_text(
        CONFIG.format(
            host=host,
            user=getpass.getuser(),
            controller=controller,
            node=node,
            folder=folder,
            tracked_by=tracked_by,
        )
    )
    made = Cluster(folder)
    names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
    munge = [f"--{option}={folder}/munge/{name}" for option, name in names.items()]
    seed = f"--seed-file={folder}/munge/seed"
    daemons = [_start(made, "munged", "--foreground", seed, *munge)]
    try:
        _wait(lambda: (folder / "munge" / "socket").exists(), made)
        daemons.append(_start(made, "slurmctld", "-D", "-c"))
        daemons.append(_start(made, "slurmd", "-D"))
        _wait(
            lambda: made.ask("sinfo", "--noheader", "--partition=low", "--format=%t") == "idle",
            made,
        )
        yield made
        made.ask("scancel", f"--user={getpass.getuser()}")
        _wait(lambda: not made.jobs(), made)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _start(made: Cluster, name: str, *options: str) -> subprocess.Popen[bytes]:
    """Start a daemon that dies with this process."""
    with (made.folder / f"{name}.out").open("wb") as out:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", _found(name), *options],
            env={**os.environ, "SLURM_CONF": made.config},
            stdout=out,
            stderr=out,
        )


def _found(name: str) -> str:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or ""


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _wait(condition: object, made: Cluster, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():  # type: ignore[operator]
                return
        except subprocess.CalledProcessError:
            pass
        if time.monotonic() > deadline:
            said = [path.read_text()[-2000:] for path in sorted(made.folder.glob("*.out"))]
            raise AssertionError("the cluster does not come up:\n" + "\n".join(said))
        time.sleep(0.1)
