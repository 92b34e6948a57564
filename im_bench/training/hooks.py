"""What happens around the steps of a training; none of it waits for the device in a step.

MMEngine's own hooks read every loss as soon as it is there, which makes a GPU wait for Python after
each step. These take the place of its runtime, timer, logger and checkpoint hooks.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from mmengine.hooks import Hook
from torch import Tensor

from im_bench.data.augment import mixed_seed
from im_bench.errors import ImBenchError, unknown_name
from im_bench.evaluation.directions import higher_is_better
from im_bench.models.segmentor import deployed
from im_bench.runner.job import SCRATCH, StageInterrupted
from im_bench.training.checkpoints import BrokenCheckpoint, load_checkpoint, save_checkpoint
from im_bench.training.scalars import append_rows, rows_hash, truncate_rows

log = logging.getLogger(__name__)

_ROWS = 200
"""About how many rows of training loss a curve has."""


class Progress(Protocol):
    """Whom a training tells how far it is; see :meth:`im_bench.runner.job.Job.progress`."""

    def __call__(self, step: int, total: int, **numbers: float) -> None:
        """Take note."""


class StatelessRandomness(Hook):
    """Derive all randomness of a step from (seed, iteration).

    So a training that resumes needs no generator's state: dropout and augmentation draw what they
    would have drawn.
    """

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the global generators and tell the preprocessor where the training is."""
        torch.manual_seed(mixed_seed(runner.seed, runner.iter))
        runner.model.data_preprocessor.iteration = runner.iter


class LossLog(Hook):
    """Write the curves, tell the progress, and stop a training whose loss is not finite.

    Rows lie on a fixed grid of iterations and hold means since the row before, of the loss and of
    what else a step gives, so they are the same however often a training was interrupted. Numbers
    stay on the device and are read at most once a second.

    Args:
        file: Receives the rows.
        progress: Is told each time the losses are read.
    """

    def __init__(self, file: Path, progress: Progress | None = None) -> None:
        self._file = file
        self._progress = progress
        self._pending: list[tuple[int, dict[str, Tensor]]] = []
        self._sums: dict[str, tuple[Tensor, int]] = {}  # with the number of terms
        self._steps = 0
        self._read_at = self._started_at = time.monotonic()

    def state_dict(self, iteration: int) -> dict[str, Any]:
        """Return the part of a row that is not written yet, and the hash of those that are."""
        return {"sums": dict(self._sums), "rows": rows_hash(self._file, iteration)}

    def fits(self, iteration: int, state: Mapping[str, Any]) -> bool:
        """Return whether the rows up to an iteration are still what they were then."""
        return state.get("rows") in (None, rows_hash(self._file, iteration))

    def resume(self, iteration: int, state: Mapping[str, Any]) -> None:
        """Forget the rows after an iteration and continue the one that was unfinished then.

        Args:
            iteration: Where the training resumes; 0 to start anew.
            state: What :meth:`state_dict` was at that time.
        """
        truncate_rows(self._file, iteration)
        self._sums = dict(state.get("sums", {}))

    def before_train(self, runner: Any) -> None:
        """Start the clock."""
        self._resume_clock()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Add what a step gives: its loss, the terms of that, and what the method logs."""
        done, total = runner.iter + 1, runner.max_iters
        for name, value in outputs.items():
            before, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (value.detach() + before, count + 1)
        self._steps += 1
        if done % max(1, total // _ROWS) == 0 or done == total:
            self._pending.append((done, self._means()))
            self._sums = {}
        if time.monotonic() - self._read_at >= 1:
            self.flush(runner, done)

    def flush(self, runner: Any, done: int) -> None:
        """Read the numbers, write their rows and tell the progress.

        Raises:
            ImBenchError: A loss is not finite.
        """
        if not self._steps:
            return
        unfinished = [(done, self._means())] if self._sums else []
        rows = [*self._pending, *unfinished]
        values = iter(torch.stack([each for _, means in rows for each in means.values()]).tolist())
        read = [(iteration, {name: next(values) for name in means}) for iteration, means in rows]
        for iteration, means in read:
            if not math.isfinite(means["loss"]):
                rate = runner.optim_wrapper.get_lr()["lr"][0]
                raise ImBenchError(
                    f"the loss became {means['loss']} by iteration {iteration} of "
                    f"{runner.max_iters} with learning rate {rate:g}: lower the learning rate"
                )
        now = time.monotonic()
        images = self._steps * runner.train_dataloader.batch_size
        speed = images / max(now - self._started_at, 1e-9)
        append_rows(
            self._file,
            (
                {
                    "iter": iteration,
                    **{f"train/{name}": value for name, value in means.items()},
                    "images_per_second": round(speed, 2),
                }
                for iteration, means in read[: len(self._pending)]
            ),
        )
        if self._progress is not None:
            left = (runner.max_iters - done) * runner.train_dataloader.batch_size / speed
            self._progress(
                done,
                runner.max_iters,
                loss=read[-1][1]["loss"],
                images_per_second=speed,
                eta_s=left,
            )
        self._pending.clear()
        self._resume_clock()

    def before_val_epoch(self, runner: Any) -> None:
        """Write what there is, so that rows are in order and no broken model is validated."""
        self.flush(runner, runner.iter)

    def after_val_epoch(self, runner: Any, metrics: Mapping[str, float] | None = None) -> None:
        """Write the metrics of a validation."""
        row = {f"val/{name}": float(value) for name, value in (metrics or {}).items()}
        append_rows(self._file, [{"iter": runner.iter, **row}])
        self._resume_clock()

    def _means(self) -> dict[str, Tensor]:
        return {name: total / count for name, (total, count) in self._sums.items()}

    def _resume_clock(self) -> None:
        self._steps = 0
        self._read_at = self._started_at = time.monotonic()


class Checkpoints(Hook):
    """Keep the best model and the last state, resume from it, and stop when asked to.

    ``best.pth`` holds the weights with their metrics and is its own record. ``last.pth`` holds all
    that a resumed training needs; it is written after each validation, every ``save_seconds``, and
    before a stop, always between two steps.

    Args:
        folder: Where ``best.pth`` goes, and ``last.pth`` into its folder for what is of no use
            once the stage is done.
        monitor: The metric that says what is best.
        loss_log: Its unfinished row is part of the state.
        stop: Set by whoever wants the training to stop.
        save_seconds: See above.
        keep_last: Let ``best.pth`` hold the network of the last validation, whatever its score.
    """

    def __init__(
        self,
        folder: Path,
        monitor: str,
        loss_log: LossLog,
        stop: threading.Event | None = None,
        save_seconds: float = 300.0,
        keep_last: bool = False,
    ) -> None:
        self._keep_last = keep_last
        self._best_file = folder / "best.pth"
        self._last_file = folder / SCRATCH / "last.pth"
        self._monitor = monitor
        self._sign = 1 if higher_is_better(monitor) else -1
        self._loss_log = loss_log
        self._stop = stop or threading.Event()
        self._save_seconds = save_seconds
        self._best_score = -math.inf
        self._saved_at = time.monotonic()

    def resume(self, runner: Any) -> int:
        """Load the last state into a runner; return its iteration, 0 to start anew.

        A training whose files are damaged starts anew: that costs time, and nothing else.
        """
        try:
            state = self._saved()
        except BrokenCheckpoint as error:
            log.warning("starting anew: %s", error)
            state = None
        if state is None:
            self._best_score = -math.inf
            self._best_file.unlink(missing_ok=True)
            self._loss_log.resume(0, {})
            return 0
        runner.model.load_state_dict(state["state_dict"])
        runner.optim_wrapper.load_state_dict(state["optimizer"])
        for scheduler, saved in zip(runner.param_schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self._loss_log.resume(state["iteration"], state["loss_log"])
        log.info("resumed after iteration %d", state["iteration"])
        return int(state["iteration"])

    def _saved(self) -> dict[str, Any] | None:
        """Return the last state, or None if there is none, and remember what was best until then.

        Raises:
            BrokenCheckpoint: A file is damaged.
        """
        if not self._last_file.exists():
            return None
        state = load_checkpoint(self._last_file)
        if self._best_file.exists():
            self._best_score = self._score(load_checkpoint(self._best_file)["metrics"])
        elif state.get("has_best"):
            raise BrokenCheckpoint(f"{self._best_file} is missing")
        if not self._loss_log.fits(state["iteration"], state["loss_log"]):
            raise BrokenCheckpoint("the curves beside it are damaged")
        return state

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Save if it is time to, and stop if asked to."""
        stopping = self._stop.is_set()
        if stopping or time.monotonic() - self._saved_at >= self._save_seconds:
            self._loss_log.flush(runner, runner.iter)
            self._save_last(runner)
        if stopping:
            raise StageInterrupted(f"stopped after iteration {runner.iter} of {runner.max_iters}")

    def after_val_epoch(self, runner: Any, metrics: Mapping[str, float] | None = None) -> None:
        """Save the model if it is the best so far, then the state."""
        values = {name: float(value) for name, value in (metrics or {}).items()}
        score = self._score(values)
        if not math.isfinite(score):
            raise ImBenchError(
                f"the validation {self._monitor} became {values[self._monitor]} at iteration "
                f"{runner.iter} of {runner.max_iters}: lower the learning rate"
            )
        if score > self._best_score or self._keep_last:
            self._best_score = score
            save_checkpoint(
                self._best_file,
                {
                    "state_dict": deployed(runner.model).state_dict(),
                    "iteration": runner.iter,
                    "metrics": values,
                },
            )
        self._save_last(runner)

    def _score(self, metrics: Mapping[str, float]) -> float:
        if self._monitor not in metrics:
            raise unknown_name("validation metric", self._monitor, metrics)
        return self._sign * metrics[self._monitor]

    def _save_last(self, runner: Any) -> None:
        save_checkpoint(
            self._last_file,
            {
                "state_dict": runner.model.state_dict(),
                "optimizer": runner.optim_wrapper.state_dict(),
                "schedulers": [each.state_dict() for each in runner.param_schedulers],
                "iteration": runner.iter,
                "loss_log": self._loss_log.state_dict(runner.iter),
                "has_best": math.isfinite(self._best_score),
            },
        )
        self._saved_at = time.monotonic()
