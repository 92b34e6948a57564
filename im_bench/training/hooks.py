"""What happens around the steps of a training; none of it waits for the device in a step.

MMEngine's own hooks read every loss as soon as it is there, which makes a GPU wait for Python after
each step. These take the place of its runtime, timer, logger and checkpoint hooks.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.dist import all_reduce, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import Tensor, distributed

from im_bench.data.augment import mixed_seed
from im_bench.data.seeds import process_seed
from im_bench.errors import ImBenchError, unknown_name
from im_bench.evaluation.registry import higher_is_better
from im_bench.models.checkpoints import BrokenCheckpoint, load_checkpoint, save_checkpoint
from im_bench.models.segmentor import deployed
from im_bench.plugin.networks import unwrapped
from im_bench.training.control import Control, TrainingStopped
from im_bench.training.scalars import append_rows, rows_hash, truncate_rows

log = logging.getLogger(__name__)

FILE = "scalars.jsonl"
"""The curves of a training, in its work dir."""
BEST = "best.pth"
"""The network that a training leaves, in its work dir."""
_ROWS = 200
"""About how many rows of training loss a curve has."""


def control_of(runner: Any) -> Control:
    """Return who follows and stops a training; under a runner of MMEngine's nobody does."""
    control: Control = getattr(runner, "control", None) or Control()
    return control


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Derive all randomness of a step from (seed, iteration).

    So a training that resumes needs no generator's state: dropout and augmentation draw what they
    would have drawn.
    """

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the global generators and tell the preprocessor where the training is."""
        torch.manual_seed(mixed_seed(process_seed(runner.seed), runner.iter))
        model: Any = unwrapped(runner.model)
        model.data_preprocessor.iteration = runner.iter


@HOOKS.register_module()
class CurveHook(Hook):
    """Write the curves, tell the progress, and stop a training whose loss is not finite.

    Rows lie on a fixed grid of iterations and hold means since the row before, of the loss and of
    what else a step gives, so they are the same however often a training was interrupted. Numbers
    stay on the device and are read at most once a second.

    The rows go into ``scalars.jsonl`` in the work dir.
    """

    def __init__(self) -> None:
        self._file = Path(FILE)
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

    def before_run(self, runner: Any) -> None:
        """Learn where the rows go."""
        self._file = Path(runner.work_dir, FILE)

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
            self._pending.append((done, _over_processes(self._means())))
            self._sums = {}
        if time.monotonic() - self._read_at >= 1:
            self.flush(runner, done)

    def flush(self, runner: Any, done: int) -> None:
        """Read the numbers, write their rows and tell the progress.

        Raises:
            ImBenchError: A loss is not finite.
        """
        if not self._steps or not is_main_process():
            self._pending.clear()
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
        batch = runner.train_dataloader.batch_size * runner.world_size
        images = self._steps * batch
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
        if (progress := control_of(runner).progress) is not None:
            left = (runner.max_iters - done) * batch / speed
            progress(
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
        if is_main_process():
            append_rows(self._file, [{"iter": runner.iter, **row}])
        self._resume_clock()

    def _means(self) -> dict[str, Tensor]:
        return {name: total / count for name, (total, count) in self._sums.items()}

    def _resume_clock(self) -> None:
        self._steps = 0
        self._read_at = self._started_at = time.monotonic()


@HOOKS.register_module()
class TrainingStateHook(Hook):
    """Keep the best model and the last state, resume from it, and stop when asked to.

    ``best.pth`` in the work dir holds the weights with their metrics and is its own record. The
    file of the last state holds all that a resumed training needs; it is written after each
    validation, every ``save_seconds``, and before a stop, always between two steps. Both have
    MMEngine's format.

    A config has a :class:`CurveHook` before it, whose unfinished row is part of the state.

    Args:
        monitor: The metric that says what is best.
        keep: Which network ``best.pth`` holds: the ``best`` by the metric, or that of the ``last``
            validation.
        save_seconds: See above.
        last: The file of the last state, below the work dir.
    """

    def __init__(
        self,
        monitor: str,
        keep: Literal["best", "last"] = "best",
        save_seconds: float = 300.0,
        last: str = "scratch/last.pth",
    ) -> None:
        self._monitor = monitor
        self._sign = 1 if higher_is_better(monitor) else -1
        self._keep_last = keep == "last"
        self._save_seconds = save_seconds
        self._last = last
        self._agreeing: Any = None
        self._best_score = -math.inf
        self._saved_at = time.monotonic()

    def before_run(self, runner: Any) -> None:
        """Learn where the files go and who writes the curves."""
        self._best_file = Path(runner.work_dir, BEST)
        self._last_file = Path(runner.work_dir, self._last)
        self._curve = next(hook for hook in runner.hooks if isinstance(hook, CurveHook))
        if runner.distributed:  # to agree on stopping without a wait for the device
            self._agreeing = distributed.new_group(backend="gloo")

    def resume(self, runner: Any) -> None:
        """Continue from the last state, or begin anew where there is none that is whole."""
        try:
            state = self._saved() if runner.cfg.get("resume") else None
        except BrokenCheckpoint as error:
            log.warning("starting anew: %s", error)
            state = None
        if state is None:
            self._best_score = -math.inf
        else:
            runner.resume(str(self._last_file))
        if not is_main_process():
            return
        if state is None:
            self._best_file.unlink(missing_ok=True)
            self._curve.resume(0, {})
            return
        self._curve.resume(runner.iter, state["curve"])
        log.info("resumed after iteration %d", runner.iter)

    def _saved(self) -> dict[str, Any] | None:
        """Return the last state, or None if there is none, and remember what was best until then.

        Raises:
            BrokenCheckpoint: A file is damaged.
        """
        if not self._last_file.exists():
            return None
        state = load_checkpoint(self._last_file)
        if self._best_file.exists():
            self._best_score = self._score(load_checkpoint(self._best_file)["meta"]["metrics"])
        elif state.get("has_best"):
            raise BrokenCheckpoint(f"{self._best_file} is missing")
        if not self._curve.fits(state["meta"]["iter"], state["curve"]):
            raise BrokenCheckpoint("the curves beside it are damaged")
        return state

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Save if it is time to, and stop if asked to."""
        stopping = self._agreed(control_of(runner).stop.is_set())
        if stopping or time.monotonic() - self._saved_at >= self._save_seconds:
            self._curve.flush(runner, runner.iter)
            self._save_last(runner)
        if stopping:
            raise TrainingStopped(f"stopped after iteration {runner.iter} of {runner.max_iters}")

    def after_val_epoch(self, runner: Any, metrics: Mapping[str, float] | None = None) -> None:
        """Save the model if it is the best so far, then the state."""
        values = {name: float(value) for name, value in (metrics or {}).items()}
        score = self._score(values)
        if not math.isfinite(score):
            raise ImBenchError(
                f"the validation {self._monitor} became {values[self._monitor]} at iteration "
                f"{runner.iter} of {runner.max_iters}: lower the learning rate"
            )
        better = score > self._best_score or self._keep_last
        self._best_score = score if better else self._best_score
        if better and is_main_process():
            save_checkpoint(
                self._best_file,
                {
                    "meta": {"iter": runner.iter, "epoch": 0, "metrics": values},
                    "state_dict": deployed(unwrapped(runner.model)).state_dict(),
                },
            )
        self._save_last(runner)

    def _score(self, metrics: Mapping[str, float]) -> float:
        if self._monitor not in metrics:
            raise unknown_name("validation metric", self._monitor, metrics)
        return self._sign * metrics[self._monitor]

    def _agreed(self, stopping: bool) -> bool:
        """Return what the first process says, in all of them."""
        if self._agreeing is None:
            return stopping
        said = torch.tensor([stopping])
        distributed.broadcast(said, 0, group=self._agreeing)
        return bool(said)

    def _save_last(self, runner: Any) -> None:
        self._saved_at = time.monotonic()
        if not is_main_process():
            return
        save_checkpoint(
            self._last_file,
            {
                "meta": {"iter": runner.iter, "epoch": 0},
                "state_dict": unwrapped(runner.model).state_dict(),
                "message_hub": runner.message_hub.state_dict(),
                "optimizer": runner.optim_wrapper.state_dict(),
                "param_schedulers": [each.state_dict() for each in runner.param_schedulers],
                "curve": self._curve.state_dict(runner.iter),
                "has_best": math.isfinite(self._best_score),
            },
        )


def _over_processes(means: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the means over all processes, which all have to ask."""
    if get_world_size() == 1 or not means:
        return means
    values = torch.stack([each.float() for each in means.values()])
    all_reduce(values, "mean")
    return dict(zip(means, values, strict=True))
