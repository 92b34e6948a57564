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
from im_bench.files import write_json
from im_bench.runner.failures import bounded_traceback, explain
from im_bench.runner.folder import Spec, StageFolder
from im_bench.runner.job import SCRATCH, Job, StageInterrupted
from im_bench.runner.locks import Lock, LockedError
from im_bench.runner.provenance import provenance

DONE, FAILED, INTERRUPTED = 0, 1, os.EX_TEMPFAIL

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
        with Lock(path / "lock", on_lost=stop.set):
            # Only under the lock is this certain: another may just have finished.
            if folder.result() is not None:
                return DONE
            return _attempt(folder, spec, stop)
    except LockedError as error:
        log.info("%s", error)
        return INTERRUPTED
    except (ImBenchError, OSError) as error:
        log.error("%s", explain(error, path))
        return FAILED


def _attempt(folder: StageFolder, spec: Spec, stop: threading.Event) -> int:
    number, restarts, settings = folder.attempts + 1, folder.restarts, folder.settings()
    log.info("attempt %d at %s", number, spec.slug)
    began = time.monotonic()
    try:
        (folder.path / "progress.json").unlink(missing_ok=True)
        limit_threads(settings.threads)
        write_json(folder.path / f"provenance-{number}.json", provenance(settings))
        stages = _root(folder.path, spec.slug)
        job = Job(
            folder=folder.path,
            config=spec.config,
            inputs={role: [stages / name for name in names] for role, names in spec.inputs.items()},
            settings=settings,
            paths=spec.paths,
            stop=stop,
        )
        outcome = _function(spec.target)(job)
        result = {
            "key": spec.key,
            "slug": spec.slug,
            "kind": spec.kind,
            "outcome": _checked(outcome, spec.target),
            "seconds": round(time.monotonic() - began, 3),
            "attempts": number,
            "restarts": restarts,
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        write_json(folder.path / "result.json", result)
        shutil.rmtree(folder.path / SCRATCH, ignore_errors=True)
    except BaseException as error:
        if isinstance(error, StageInterrupted) and stop.is_set():
            log.info("stopped as asked after %.1f s", time.monotonic() - began)
            return INTERRUPTED
        log.exception("failed after %.1f s", time.monotonic() - began)
        folder.record_error(
            number,
            type=type(error).__name__,
            message=explain(error, folder.path),
            traceback=bounded_traceback(error),
            seconds=round(time.monotonic() - began, 3),
        )
        return FAILED
    log.info("done in %.1f s", result["seconds"])
    return DONE


def limit_threads(count: int) -> None:
    """Let the numeric libraries use so many threads, whether they are loaded already or not."""
    for name in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{name}_NUM_THREADS"] = str(count)
    os.environ["OPENCV_FOR_THREADS_NUM"] = str(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(count)


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
