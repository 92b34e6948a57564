"""Logging in trainings by MMSegmentation's tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import RuntimeInfoHook
from mmengine.registry import HOOKS
from torch import Tensor


@HOOKS.register_module()
class DeferredRuntimeInfoHook(RuntimeInfoHook):
    """MMEngine's ``RuntimeInfoHook``, but it reads losses from the device in bundles.

    That one reads every loss as soon as it is there, so that Python waits for the device after each
    step. Here the history is the same, but complete only when it is asked for: by a logger with the
    same interval, or by a checkpoint.

    Args:
        interval: Iterations between two readings; that of the ``LoggerHook``.
    """

    def __init__(self, interval: int = 50) -> None:
        super().__init__()
        self._interval = interval
        self._waiting: list[dict[str, Tensor]] = []

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Put the losses of a step with those that wait."""
        if outputs is not None:
            self._waiting.append({name: value.detach() for name, value in outputs.items()})
        if self.every_n_train_iters(runner, self._interval) or runner.iter + 1 == runner.max_iters:
            self._read(runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Complete the history that the checkpoint holds."""
        if self._waiting:
            self._read(runner)
            checkpoint["message_hub"] = runner.message_hub.state_dict()

    def _read(self, runner: Any) -> None:
        if not self._waiting:
            return
        names = [name for step in self._waiting for name in step]
        values = [value.float() for step in self._waiting for value in step.values()]
        for name, value in zip(names, torch.stack(values).tolist(), strict=True):
            runner.message_hub.update_scalar(f"train/{name}", value)
        self._waiting.clear()
