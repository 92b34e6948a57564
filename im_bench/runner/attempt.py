"""One attempt at a stage: take the lock, do the work, leave a result or an error."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from im_bench.errors import ImBenchError
from im_bench.files import sealed, write_json
from im_bench.runner.failures import Failure, bounded_traceback, explain, overran
from im_bench.runner.folder import Spec, StageFolder
from im_bench.runner.job import SCRATCH, Job, StageInterrupted
from im_bench.runner.limits import TimeLimit
from im_bench.runner.locks import Lock, LockedError
from im_bench.runner.provenance import provenance
from im_bench.training.own_code import check_unchanged

DONE, FAILED, INTERRUPTED = 0, 1, os.EX_TEMPFAIL

#: Beginnings of unfinished files that others than the attempt may be writing just now.
_OTHERS = (".lock.", ".stage.json.", ".settings.json.", ".error-", ".wandb.json.")

log = logging.getLogger(__name__)


def run_attempt(path: Path, stop: threading.Event) -> int:
    """Run the stage in this folder unless it is done, and say how it went.

    Args:
        path: The stage's folder, with ``stage.json`` and perhaps ``settings.json``.
        stop: Set by whoever wants the stage to stop at its next safe point.

    Returns:
        ``DONE``, ``FAILED`` (then ``error-k.json`` says why, unless the disk did not take it), or
        ``INTERRUPTED`` if the stage was asked to stop or somebody else runs it.
    """
    folder = StageFolder(path)
    try:
        spec = folder.spec()
        with Lock(path / "lock", on_lost=_leave) as lock:
            # Only under the lock is this certain: another may just have finished.
            if folder.result() is not None:
                return DONE
            if pruned := folder.pruned:
                log.info("not run: %s", pruned.get("why"))
                return INTERRUPTED
            return _Attempt(folder, spec, stop, lock).run()
    except LockedError as error:
        log.info("%s", error)
        return INTERRUPTED
    except (ImBenchError, OSError) as error:
        log.error("%s", explain(error, path).message)
        return FAILED


def _leave() -> None:
    """End this process at once: what it would still write now belongs to another."""
    log.error("another process has taken over, because this one showed no sign of life")
    os._exit(INTERRUPTED)


class _Attempt:
    """One attempt, under the stage's lock."""

    def __init__(self, folder: StageFolder, spec: Spec, stop: threading.Event, lock: Lock) -> None:
        self.folder = folder
        self.spec = spec
        self.stop = stop
        self.lock = lock
        self.settings = folder.settings()
        self.number, self.restarts = folder.attempts + 1, folder.restarts
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return round(time.monotonic() - self.began, 3)

    def run(self) -> int:
        """Do the work, and say how it went."""
        log.info("attempt %d at %s", self.number, self.spec.slug)
        minutes = self.settings.minutes
        limit = TimeLimit(
            minutes and minutes * 60, self.settings.grace, self.stop, self._overran, FAILED
        )
        try:
            with limit:
                self._work()
        except BaseException as error:
            if isinstance(error, StageInterrupted) and self.stop.is_set():
                if limit.passed and minutes:
                    self._record(overran(minutes, stopped=True), "TimeLimit")
                    return FAILED
                log.info("stopped as asked after %.1f s", self.seconds)
                return INTERRUPTED
            log.exception("failed after %.1f s", self.seconds)
            failure = explain(error, self.folder.path)
            self._record(failure, type(error).__name__, bounded_traceback(error))
            return FAILED
        log.info("done in %.1f s", self.seconds)
        return DONE

    def _work(self) -> None:
        folder, spec, settings = self.folder, self.spec, self.settings
        spent = folder.seconds_spent()  # before what says so is overwritten
        (folder.path / "progress.json").unlink(missing_ok=True)
        _tidy(folder.path)
        limit_threads(settings.threads)
        origin = {**provenance(settings, spec.config.get("code", ())), "spent_before": spent}
        write_json(folder.path / f"provenance-{self.number}.json", origin)
        check_unchanged(spec.config)
        stages = _root(folder.path, spec.slug)
        job = Job(
            folder=folder.path,
            config=spec.config,
            inputs={role: [stages / name for name in names] for role, names in spec.inputs.items()},
            settings=settings,
            paths=spec.paths,
            stop=self.stop,
        )
        outcome = _checked(_function(spec.target)(job), spec.target)
        if not self.lock.held:
            # This process was suspended so long that another took over: the result is the other's.
            self.stop.set()
            raise StageInterrupted
        result = {
            "key": spec.key,
            "slug": spec.slug,
            "kind": spec.kind,
            "outcome": outcome,
            "seconds": self.seconds,
            "seconds_in_all": round(spent + self.seconds, 3),
            "attempts": self.number,
            "restarts": self.restarts,
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        write_json(folder.path / "result.json", sealed(result))
        shutil.rmtree(folder.path / SCRATCH, ignore_errors=True)

    def _overran(self) -> None:
        self._record(overran(self.settings.minutes or 0, stopped=False), "TimeLimit")

    def _record(self, failure: Failure, kind: str, traceback: str = "") -> None:
        log.error("%s", failure.message)
        self.folder.record_error(
            self.number,
            type=kind,
            cause=failure.cause.value,
            message=failure.message,
            traceback=traceback,
            seconds=self.seconds,
        )


def limit_threads(count: int) -> None:
    """Let the numeric libraries use so many threads, whether they are loaded already or not."""
    for name in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{name}_NUM_THREADS"] = str(count)
    os.environ["OPENCV_FOR_THREADS_NUM"] = str(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(count)


def _tidy(folder: Path) -> None:
    """Remove what killed processes have left of files that they had not finished."""
    for path in folder.glob(".*.tmp"):
        if path.name.startswith(_OTHERS):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _root(folder: Path, slug: str) -> Path:
    """Return the folder of all stages: slugs have slashes, so it may be some levels up."""
    return folder.resolve().parents[slug.count("/")]


def _function(target: str) -> Callable[[Job], Any]:
    module, _, name = target.partition(":")
    function: Callable[[Job], Any] = getattr(importlib.import_module(module), name)
    return function


def _checked(outcome: Any, target: str) -> dict[str, Any]:
    if not isinstance(outcome, dict):
        raise TypeError(f"{target} must return a dict, not {type(outcome).__name__}")
    return outcome
