"""MMEngine's Runner as im-bench uses it, for cells of suites and for configs of ``tools/train.py``.

Importing this module registers all parts that such a config may name.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import RUNNERS
from mmengine.runner import CheckpointLoader, Runner
from mmengine.utils import import_modules_from_strings
from mmseg.utils import register_all_modules
from torch import nn

import im_bench.data.semi_arrays
import im_bench.data.whole_batches
import im_bench.evaluation.metrics
import im_bench.models.preprocessor
import im_bench.models.pretrained
import im_bench.models.segmentor
import im_bench.models.unet
import im_bench.semi.preprocessor
import im_bench.training.semi_supervised
import im_bench.training.semi_supervised_hook
import im_bench.training.validation  # noqa: F401 - these register what configs name
from im_bench.errors import ImBenchError, unknown_name
from im_bench.models.checkpoints import refuse_pickled_code
from im_bench.models.pretrained import load_what_fits
from im_bench.models.segmentor import place
from im_bench.models.sync_norm import synchronised
from im_bench.models.weights import network_weights
from im_bench.plugin.networks import unwrapped
from im_bench.training.control import Control
from im_bench.training.hooks import TrainingStateHook
from im_bench.training.memory import keep_freed_memory
from im_bench.training.resuming import checkpoint_folder, keep_own_pointers
from im_bench.training.small_batches import naming_batch

# MMEngine would import these when it first looks for a name, and they print that an optional
# package is missing.
with contextlib.redirect_stdout(io.StringIO()):
    register_all_modules(init_default_scope=False)

_BUILD_ERRORS = (AssertionError, AttributeError, KeyError, TypeError, ValueError)


@RUNNERS.register_module()
class TrainingRunner(Runner):
    """MMEngine's Runner that reads checkpoints as data and explains what it cannot build.

    With a :class:`~im_bench.training.hooks.TrainingStateHook`, a training resumes exactly.

    Attributes:
        control: Who follows the training and may stop it.
    """

    control = Control()

    def load_or_resume(self) -> None:
        """Continue from the last state as the config's hooks keep it."""
        for hook in self.hooks:
            if isinstance(hook, TrainingStateHook):
                hook.resume(self)
                return
        super().load_or_resume()

    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = "cpu",
        strict: bool = False,
        revise_keys: Sequence[tuple[str, str]] = (),
    ) -> dict[str, Any]:
        """Load the model's weights from a checkpoint that begins or continues a training.

        Args:
            filename: A file or URL.
            map_location: Where its tensors go.
            strict: Not used: what is resumed was checked before.
            revise_keys: Not used.

        Returns:
            What the checkpoint holds.

        Raises:
            ImBenchError: It is missing or broken, or nothing of it fits the model.
        """
        content: dict[str, Any] = CheckpointLoader.load_checkpoint(filename, map_location)
        if self.cfg.get("resume"):
            keep_own_pointers(content["message_hub"], checkpoint_folder(self.cfg))
        content["state_dict"] = network_weights(content, filename, None)  # where hooks look for it
        self.call_hook("after_load_checkpoint", checkpoint=content)
        load_what_fits(unwrapped(self.model), content["state_dict"], filename)
        self.logger.info(f"Load checkpoint from {filename}")
        return content

    def build_train_loop(self, loop: Any) -> Any:
        """Build the loop of the training, or say why it cannot be."""
        with explained(), holding_images("train_dataloader"):
            return super().build_train_loop(loop)

    def build_val_loop(self, loop: Any) -> Any:
        """Build the loop of the validation, or say why it cannot be."""
        with explained(), holding_images("val_dataloader"):
            return super().build_val_loop(loop)

    def build_test_loop(self, loop: Any) -> Any:
        """Build the loop of the test, or say why it cannot be."""
        with explained(), holding_images("test_dataloader"):
            return super().build_test_loop(loop)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build the optimiser, or say why it cannot be."""
        with explained():
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build the schedules, or say why they cannot be."""
        with explained():
            return super().build_param_scheduler(scheduler)


@RUNNERS.register_module()
class CellRunner(TrainingRunner):
    """The runner of a suite's cell: without folders, dumps and environment report of its own.

    A config's ``device`` is where the model goes.
    """

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        """Move the model to its device, in the memory format that convolutions like best."""
        device = torch.device(self.cfg["device"])
        single: nn.Module = revert_sync_batchnorm(model)
        if not self.distributed:
            place(single, device)
            return single
        if device.type == "cuda":
            device = torch.device("cuda", torch.cuda.current_device())
        together = synchronised(single, device)
        place(together, device)
        wrapped: nn.Module = MMDistributedDataParallel(
            together,
            device_ids=None if device.type == "cpu" else [device.index],
            broadcast_buffers=False,  # synchronised normalisation keeps them alike
        )
        return wrapped

    def dump_config(self) -> None:
        """Write nothing: the stage's own config says it all. Remove the empty log folder."""
        with contextlib.suppress(OSError):  # Another process of the training has removed it.
            Path(self.log_dir).rmdir()

    def build_logger(self, log_level: int | str = "INFO", **kwargs: Any) -> Any:
        """Log to the console only, which a stage's log file records."""
        from mmengine.logging import MMLogger

        return MMLogger.get_instance(self.experiment_name, log_level=log_level)

    def _log_env(self, env_cfg: Mapping[str, Any]) -> None:
        """Say nothing, since provenance is the stage's matter; MMEngine would ask each compiler."""


def run(config: Config, control: Control | None = None) -> TrainingRunner:
    """Train by a config, or continue where a former attempt was cut off.

    On a CPU with the same number of threads, an interrupted training of a cell ends with the same
    bits as one that ran through.

    Args:
        config: Whole, as :func:`im_bench.training.config.build_config` makes it or a file has it.
        control: Who follows the training and may stop it.

    Returns:
        The runner, with the model as it is after the last step.

    Raises:
        ImBenchError: Something in the config or the data cannot be, or the loss is not finite.
        TrainingStopped: ``control.stop`` was set.
    """
    runner: TrainingRunner = build_runner(config)
    if control is not None:
        runner.control = control
    with naming_batch("training.batch"):
        runner.train()
    return runner


def build_runner(config: Config) -> Any:
    """Return the runner of a config, ready to train: a :class:`TrainingRunner` unless it says else.

    Raises:
        ImBenchError: A module cannot be imported, or something cannot be built.
    """
    refuse_pickled_code()
    keep_freed_memory()
    import_custom_modules((config.get("custom_imports") or {}).get("imports") or ())
    name = config.get("runner_type", TrainingRunner.__name__)
    kind = RUNNERS.get(name)
    if kind is None:
        raise unknown_name("runner", name, RUNNERS.module_dict)
    with explained():
        return kind.from_cfg(config)


def import_custom_modules(modules: Any) -> None:
    """Import the modules that register parts that a config names.

    Raises:
        ImBenchError: One of them cannot be imported.
    """
    if modules:
        try:
            import_modules_from_strings(modules)
        except ImportError as error:
            raise ImBenchError(
                f"custom_imports: {error}: install the module or correct its name"
            ) from None


@contextmanager
def explained() -> Iterator[None]:
    """Turn what MMEngine raises for a wrong config into one sentence."""
    try:
        yield
    except _BUILD_ERRORS as error:
        reason = str(error.args[0] if error.args else error).partition("\n")[0]
        reason = reason.partition(". Please check whether")[0]  # MMEngine's advice
        raise ImBenchError(
            f"the config cannot be built ({type(error).__name__}: {reason}): correct the config or "
            "--cfg-options, or the model in the suite"
        ) from error


@contextmanager
def holding_images(loader: str) -> Iterator[None]:
    """Name the data loader whose data set holds no image."""
    try:
        yield
    except ValueError as error:
        if "need at least one array" not in str(error):  # what MMEngine says of an empty list
            raise
        raise ImBenchError(
            f"{loader} finds no image: correct img_suffix, data_prefix or ann_file of its data set"
        ) from error
