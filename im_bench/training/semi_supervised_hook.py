"""What a semi-supervised training needs around its steps."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS

from im_bench.data.augment import mixed_seed
from im_bench.data.seeds import process_seed
from im_bench.data.semi import SemiDataset
from im_bench.errors import ImBenchError
from im_bench.models.pointwise import prefer_onednn
from im_bench.semi.step import Clock
from im_bench.training.semi_supervised import SemiSupervisedSegmentor


@HOOKS.register_module()
class SemiSupervisedHook(Hook):
    """Tell the model the time before each step, and let its averages follow afterwards.

    Averages follow only where the optimiser has made a step, so that gradient accumulation does not
    speed them up.

    Args:
        epoch_length: Steps per pass over the unlabelled images; default: the data loader's length.
    """

    priority = "HIGH"  # before checkpoints are saved

    def __init__(self, epoch_length: int | None = None) -> None:
        self._epoch_length = epoch_length

    def before_train(self, runner: Any) -> None:
        """Tell the data which labels there are; let networks compute on a CPU as fast as they can.

        Worker processes of the data loader must not have been started.
        """
        model = _model(runner)
        dataset = getattr(runner.train_dataloader, "dataset", None)
        if isinstance(dataset, SemiDataset):
            dataset.label_count = model.space.label_count
        if next(model.parameters()).device.type == "cpu":
            prefer_onednn(model)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Set the model's clock, the preprocessor's iteration and the seed of the step."""
        model = _model(runner)
        length = self._epoch_length or len(runner.train_dataloader)
        model.clock = Clock(runner.iter, runner.max_iters, length)
        model.data_preprocessor.iteration = runner.iter
        # Dropout draws from the global generator: after a resume it draws what it would have drawn.
        torch.manual_seed(mixed_seed(process_seed(model.seed), runner.iter))

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Let the averages follow the optimiser's step."""
        if runner.optim_wrapper.should_update():
            _model(runner).after_step()


def _model(runner: Any) -> SemiSupervisedSegmentor:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    if not isinstance(model, SemiSupervisedSegmentor):
        raise ImBenchError(
            f"SemiSupervisedHook is for a SemiSupervisedSegmentor, not a {type(model).__name__}: "
            "remove the hook from the config, or wrap the model"
        )
    return model
