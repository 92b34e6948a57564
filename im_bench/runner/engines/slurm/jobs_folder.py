"""What a run on Slurm writes down: submitit's files, and which stage has which job."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from submitit.core.utils import JobPaths

from im_bench.files import read_json, write_json
from im_bench.runner.engines.slurm.commands import states
from im_bench.runner.folder import StageFolder
from im_bench.runner.locks import Lock, LockWatch

#: Bytes of a job's output that are kept of one that went wrong.
TAIL = 4000


class JobsFolder:
    """A folder of this run beside those of others; jobs of runs that died are taken over.

    Args:
        above: The folder of all runs.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, above: Path) -> None:
        self.path = above.absolute() / uuid.uuid4().hex[:8]
        self.path.mkdir(parents=True)
        self._lock = Lock(self.path / "lock")
        self._lock.__enter__()
        self._inherited: dict[str, Path] = {}  # folder of each job that an earlier run submitted

    def inherit(self) -> dict[str, str]:
        """Return the jobs of dead runs that still run or wait, by the stage's folder."""
        known: dict[str, str] = {}
        for folder in self.path.parent.iterdir():
            jobs = _jobs(folder)
            if folder != self.path and not LockWatch(folder / "lock").wait_until_certain():
                known |= jobs
                self._inherited |= dict.fromkeys(jobs, folder)
        found = (states(known) if known else None) or {}
        return {known[job]: job for job, state in found.items() if job in known and not state.over}

    def remember(self, jobs: Mapping[str, StageFolder]) -> None:
        """Write down which stage has which job, for a run after this one."""
        with contextlib.suppress(OSError):
            write_json(
                self.path / "jobs.json",
                {job: str(one.path.absolute()) for job, one in jobs.items()},
            )

    def clean(self, job: str, stage: StageFolder) -> None:
        """Remove a job's files; what one that went wrong said goes into its stage's log."""
        paths = JobPaths(self._inherited.get(job, self.path), job)
        with contextlib.suppress(OSError):
            if stage.result() is None and (said := _tail(paths.stdout)):
                with stage.log.open("a", encoding="utf-8") as log:
                    log.write(f"output of Slurm job {job}:\n{said}\n")
        for path in (paths.submitted_pickle, paths.result_pickle, paths.stdout):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove what no job needs any more."""
        self._lock.__exit__(None, None, None)
        shutil.rmtree(self.path, ignore_errors=True)
        found = states(self._inherited) if self._inherited else {}
        if found is not None:
            needed = {self._inherited[job] for job in found if not found[job].over}
            for folder in set(self._inherited.values()) - needed:
                shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # not if other runs have theirs there
            self.path.parent.rmdir()


def _jobs(folder: Path) -> dict[str, str]:
    try:
        return {str(job): str(path) for job, path in read_json(folder / "jobs.json").items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""
