"""The Slurm engine: stages are jobs of a cluster, submitted through submitit.

Slurm has the queue and the jobs live without the runner: one that was killed finds them again.
"""

from __future__ import annotations

import contextlib
import io
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from im_bench.errors import ImBenchError
from im_bench.runner.attempt import DONE, FAILED
from im_bench.runner.engines.base import Ended, Task
from im_bench.runner.engines.options import SlurmOptions
from im_bench.runner.engines.slurm.commands import (
    JobState,
    SbatchOptions,
    cancel,
    gpus_of,
    may_pass,
    outside_of_jobs,
    reason,
    refusal,
    sbatch_options,
    states,
)
from im_bench.runner.engines.slurm.job import StageJob
from im_bench.runner.failures import Cause, Failure
from im_bench.runner.folder import StageFolder
from im_bench.runner.job import Settings
from im_bench.suites.resources import Resources

try:
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    from im_bench.runner.engines.slurm.jobs_folder import JobsFolder
except ImportError:
    raise ImBenchError("the engine 'slurm' needs submitit: pip install 'im-bench[slurm]'") from None

#: Jobs in one array; Slurm's own limit is 1000 unless an administrator has set another.
ARRAY = 250
#: Seconds before the end of a job's time at which its stage is asked to stop.
NOTICE_SECONDS = 90

_LOST = {
    "BOOT_FAIL": "had a node that did not start",
    "CANCELLED": "was cancelled",
    "DEADLINE": "reached its deadline",
    "NODE_FAIL": "lost its node",
    "PREEMPTED": "was preempted",
    "REVOKED": "was revoked",
    "TIMEOUT": "reached its time limit",
}

#: What to do about options that Slurm refuses.
_SEE = "see `sinfo` for what there is, and give other options, or a YAML file of them to --engine"

_Shape = tuple[Resources, bool]


class SlurmEngine:
    """Submits stages that start together, and need the same, as one job array.

    Args:
        options: Where jobs go, and how many.
        out: The results folder, which all nodes have under the same path.

    Raises:
        ImBenchError: Slurm is not here, or takes no job with these options.
    """

    def __init__(self, options: SlurmOptions, out: Path) -> None:
        self._options = options
        self._waiting: dict[_Shape, list[StageFolder]] = {}  # not submitted yet
        self._jobs: dict[str, StageFolder] = {}
        self._dropped: list[Ended] = []
        self._next_question = self._next_submission = 0.0
        self._stopping = self._killed = False
        self._check()
        self._folder = JobsFolder(out / "slurm")
        self._earlier = self._folder.inherit()

    @property
    def busy(self) -> bool:
        """Whether any stage has a job, or is about to get one."""
        return bool(self._jobs or self._dropped or self._waiting)

    def fits(self, task: Task) -> bool:
        """Return whether there may be another job.

        Raises:
            ImBenchError: It needs several GPUs, and jobs get none.
        """
        share = task.needs.gpus or 0
        if share > 1 and not gpus_of(self._options, task.needs):
            raise ImBenchError(
                f"{task.folder.path.name} needs {share:g} GPUs, and the engine's options give jobs "
                "none: change `gpus` or `device` there, or the suite's `resources`"
            )
        waiting = sum(map(len, self._waiting.values()))
        return len(self._jobs) + waiting < self._options.most

    def reserve(self, task: Task | None) -> None:
        """Do nothing: Slurm has the queue."""

    def start(self, task: Task) -> None:
        """Have a task submitted with the next array, or take up its job of an earlier run.

        Raises:
            OSError: The folder cannot be written.
        """
        if job := self._earlier.pop(str(task.folder.path.absolute()), None):
            self._jobs[job] = task.folder
            return
        shape = (task.needs, task.alone)
        chosen = sbatch_options(self._options, *shape)
        settings = Settings(
            device=self._options.device if gpus_of(self._options, task.needs) else "cpu",
            threads=int(chosen["cpus-per-task"]),
            minutes=task.needs.minutes,
            processes=task.needs.workers,
        )
        task.folder.write_settings(settings)
        self._waiting.setdefault(shape, []).append(task.folder)

    def wait(self, timeout: float) -> list[Ended]:
        """Submit what was started, and return the stages whose jobs are over.

        Raises:
            ImBenchError: Slurm takes no job although none of these is in its queue.
        """
        self._submit()
        if self._dropped:
            dropped, self._dropped = self._dropped, []
            return dropped
        pause = self._next_question - time.monotonic()
        time.sleep(max(0.0, min(timeout, pause)))
        return self._ask() if pause <= timeout else []

    def terminate(self) -> None:
        """Cancel all jobs; their stages have Slurm's ``KillWait`` to reach a safe point."""
        self._stopping = True
        for folders in self._waiting.values():
            self._dropped += [Ended(one, None, "it was not submitted yet") for one in folders]
        self._waiting.clear()
        self._next_question = 0.0
        cancel(self._jobs)

    def kill(self) -> None:
        """Cancel all jobs, and wait for none."""
        if self.busy and not self._stopping:
            self.terminate()
        self._killed = True
        self._next_question = 0.0

    def close(self) -> None:
        """Remove the files of this run's jobs."""
        self._folder.close()

    def _check(self) -> None:
        """See whether Slurm takes any job with these options."""
        refused = ""
        for needs in (Resources(gpus=0), Resources()):  # some take none without a GPU
            refused = refusal(sbatch_options(self._options, needs, alone=False))
            if "contact" in refused:
                raise ImBenchError(f"Slurm does not answer ({refused}): see whether it is up")
            if not refused or may_pass(refused):
                return
        raise ImBenchError(f"{self._complaint(refused)}: {_SEE}")

    def _complaint(self, refused: str) -> str:
        where = f" of partition {self._options.partition}" if self._options.partition else ""
        return f"Slurm takes no such job{where} ({refused.rstrip('.')})"

    def _submit(self) -> None:
        """Submit all that waits; what Slurm does not take now, it may when other jobs are over."""
        if time.monotonic() < self._next_submission:
            return
        for shape, folders in list(self._waiting.items()):
            chosen, size = sbatch_options(self._options, *shape), ARRAY
            while folders:
                batch = folders[:size]
                try:
                    jobs = self._sbatch(chosen, batch)
                except (FailedJobError, FailedSubmissionError) as error:
                    if len(batch) > 1:  # an array may be over some limit
                        size = len(batch) // 2
                        continue
                    self._refused(shape, reason(str(error)))
                    break
                self._jobs.update(zip(jobs, batch, strict=True))
                self._folder.remember(self._jobs)
                del folders[: len(batch)]
            if not folders:
                del self._waiting[shape]

    def _refused(self, shape: _Shape, why: str) -> None:
        """Let stages fail that Slurm takes no job for, or wait where it may do so later."""
        folders = self._waiting[shape]
        if not may_pass(why):
            self._dropped += [_fail(one, self._complaint(why)) for one in folders]
            folders.clear()
        elif self._jobs:
            self._next_submission = time.monotonic() + self._options.poll_seconds
        else:
            raise ImBenchError(f"{self._complaint(why)}: {_SEE}")

    def _sbatch(self, chosen: SbatchOptions, folders: Sequence[StageFolder]) -> list[str]:
        with outside_of_jobs(), contextlib.redirect_stderr(io.StringIO()):
            executor = SlurmExecutor(self._folder.path)
            executor.update_parameters(
                job_name="im-bench",
                wckey=None,
                stderr_to_stdout=True,
                signal_delay_s=NOTICE_SECONDS,
                array_parallelism=len(folders),
                setup=list(self._options.setup) or None,
                # Slurm since 22.05 does not hand the job's cores on to its step.
                srun_args=[f"--cpus-per-task={chosen['cpus-per-task']}"],
                additional_parameters=chosen,
            )
            jobs = executor.submit_array([StageJob(one.path.absolute()) for one in folders])
        return [job.job_id for job in jobs]

    def _ask(self) -> list[Ended]:
        """Ask Slurm for all jobs at once, and return the stages whose jobs are over."""
        pause = min(self._options.poll_seconds, 1.0 if self._stopping else float("inf"))
        self._next_question = time.monotonic() + pause
        if not self._jobs:
            return []
        found = {} if self._killed else states(self._jobs)
        if found is None:
            return []  # Slurm is restarted now and then, and its jobs go on.
        ended = []
        for job, folder in list(self._jobs.items()):
            state = found.get(job)
            if state and not (state.over or state.stuck or state.failed_to_launch):
                continue
            del self._jobs[job]
            ended.append(self._ended(job, folder, state))
        return ended

    def _ended(self, job: str, folder: StageFolder, state: JobState | None) -> Ended:
        with contextlib.suppress(OSError):  # makes a network folder show what nodes wrote
            folder.path.chmod(folder.path.stat().st_mode)
        if state and state.stuck:
            cancel([job])
            return _fail(folder, f"its Slurm job {job} can never start ({state.why})")
        code: int | None = None
        lost = f"its Slurm job {job} is over and left no result"
        if state and state.failed_to_launch:
            cancel([job])
            lost = f"its Slurm job {job} could not be started on its node"
        elif state and state.name in _LOST:
            lost = f"its Slurm job {job} {_LOST[state.name]}"
        elif state and state.name == "OUT_OF_MEMORY":
            code = -signal.SIGKILL
        elif state and (state.code < 0 or state.code > 128):
            number = -state.code if state.code < 0 else state.code - 128
            lost = f"its Slurm job {job} was ended by signal {number}"
        elif state and (state.code != DONE or folder.result() is not None):
            code = state.code
        self._folder.clean(job, folder)
        return Ended(folder, code, "" if code is not None else lost)


def _fail(folder: StageFolder, why: str) -> Ended:
    hint = "mend the engine's options or the suite's `resources`, then --policy retry-failed"
    folder.record_death(Failure(Cause.INPUT, f"{why}: {hint}"))
    return Ended(folder, FAILED)
