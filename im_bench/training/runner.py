"""One training on MMEngine's Runner, from a train stage's config to its outcome."""

from __future__ import annotations

import contextlib
import io
import logging
import statistics
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from mmseg.utils import register_all_modules
from torch import nn

import im_bench.data.semi_arrays
import im_bench.evaluation.metrics
import im_bench.models.preprocessor
import im_bench.models.segmentor
import im_bench.models.unet
import im_bench.semi.hook
import im_bench.semi.preprocessor
import im_bench.semi.segmentor  # noqa: F401 - these register what configs name
from im_bench.data.arrays import read_meta
from im_bench.errors import ImBenchError
from im_bench.models.segmentor import deployed, place
from im_bench.training.checkpoints import load_checkpoint, refuse_pickled_code
from im_bench.training.config import mmengine_config, monitored_metric, resolve_device
from im_bench.training.hooks import Checkpoints, LossLog, Progress, StatelessRandomness
from im_bench.training.memory import keep_freed_memory
from im_bench.training.samples import write_samples, write_unlabelled_samples
from im_bench.training.scalars import read_rows
from im_bench.training.validation import ONLY_LABEL, one_label_warning

log = logging.getLogger(__name__)

# MMEngine would import these when it first looks for a name, and they print that an optional
# package is missing.
with contextlib.redirect_stdout(io.StringIO()):
    register_all_modules(init_default_scope=False)


class TrainingRunner(Runner):
    """MMEngine's Runner without its folders, dumps and environment report.

    A config's ``device`` is where the model goes. :attr:`checkpoints`, once set, decides what a
    training resumes from.
    """

    checkpoints: Checkpoints | None = None

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        """Move the model to its device, in the memory format that convolutions like best."""
        single: nn.Module = revert_sync_batchnorm(model)  # synchronising needs several processes
        place(single, torch.device(self.cfg["device"]))
        return single

    def load_or_resume(self) -> None:
        """Continue from the last state, if there is one."""
        if self.checkpoints is not None:
            self.train_loop._iter = self.checkpoints.resume(self)

    def dump_config(self) -> None:
        """Write nothing: the stage's own config says it all. Remove the empty log folder."""
        Path(self.log_dir).rmdir()

    def build_logger(self, log_level: int | str = "INFO", **kwargs: Any) -> Any:
        """Log to the console only, which a stage's log file records."""
        from mmengine.logging import MMLogger

        return MMLogger.get_instance(self._experiment_name, log_level=log_level)

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """Say nothing: provenance is the stage runner's matter."""


def run_training(
    config: Mapping[str, Any],
    data_dir: Path,
    pseudo_dir: Path | None,
    folder: Path,
    device: str = "auto",
    threads: int = 1,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    save_seconds: float = 300.0,
) -> dict[str, Any]:
    """Train one network, or continue where a former attempt was cut off.

    On a CPU with the same number of threads, an interrupted training ends with the same bits as one
    that ran through. ``folder`` receives ``best.pth``, ``scratch/last.pth``, ``scalars.jsonl`` and
    ``samples/``.

    Args:
        config: The train stage's config.
        data_dir: The folder ``arrays`` of the data stage.
        pseudo_dir: The folder of the pseudo-label stage, or None.
        folder: The stage's folder.
        device: A torch device, or ``"auto"``.
        threads: CPU threads.
        progress: Is told about once a second.
        stop: When set, the training saves its state before the next step and stops.
        save_seconds: How often the state is saved between validations.

    Returns:
        ``val`` (metrics of the best model), ``best_iteration``, ``iterations``, ``images`` (that
        the training drew from), ``images_per_second`` (median over the curve), ``final_loss``,
        ``parameters``, on a GPU ``peak_memory`` in bytes, and a ``warning`` where the network
        predicts one label only.

    Raises:
        ImBenchError: Something in the data or the config cannot be, or the loss is not finite.
        StageInterrupted: ``stop`` was set.
    """
    refuse_pickled_code()
    keep_freed_memory()
    torch.set_num_threads(threads)
    where = resolve_device(device)
    scalars = folder / "scalars.jsonl"
    runner = build_runner(config, data_dir, pseudo_dir, folder, where)
    loss_log = LossLog(scalars, progress)
    meta = read_meta(data_dir)
    monitor = monitored_metric(config, meta)
    keep_last = config.get("keep") == "last"
    runner.checkpoints = Checkpoints(folder, monitor, loss_log, stop, save_seconds, keep_last)
    # The log first: a state is saved when the rows up to it are written.
    for hook in (StatelessRandomness(), loss_log, runner.checkpoints):
        runner.register_hook(hook)
    runner.train()

    best = load_checkpoint(folder / "best.pth")
    network = deployed(runner.model)
    network.load_state_dict(best["state_dict"])
    write_samples(runner.model, runner.val_dataloader.dataset, folder / "samples")
    if pseudo_dir is not None:
        write_unlabelled_samples(runner.model, data_dir, folder / "samples")
    curve = [row for row in read_rows(scalars) if "train/loss" in row]
    outcome = {
        "val": {name: value for name, value in best["metrics"].items() if name != ONLY_LABEL},
        "best_iteration": best["iteration"],
        "iterations": runner.max_iters,
        "images": len(runner.train_dataloader.dataset),
        "images_per_second": statistics.median(row["images_per_second"] for row in curve),
        "final_loss": curve[-1]["train/loss"],
        "parameters": sum(each.numel() for each in network.parameters()),
    }
    if ONLY_LABEL in best["metrics"]:
        outcome["warning"] = one_label_warning(best["metrics"][ONLY_LABEL], meta)
        log.warning("%s", outcome["warning"])
    if where.type == "cuda":
        outcome["peak_memory"] = torch.cuda.max_memory_allocated(where)
    return outcome


def build_runner(
    config: Mapping[str, Any],
    data_dir: Path,
    pseudo_dir: Path | None,
    folder: Path,
    device: torch.device,
) -> TrainingRunner:
    """Return a runner that is ready to train, without hooks.

    Raises:
        ImBenchError: The network or the data cannot be built from the config.
    """
    import_custom_modules(config)
    built = mmengine_config(config, data_dir, folder, pseudo_dir, device)
    try:
        runner: TrainingRunner = TrainingRunner.from_cfg(built)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        reason = str(error.args[0] if error.args else error).partition("\n")[0]
        raise ImBenchError(
            f"the network cannot be built ({reason}): correct the model in the suite"
        ) from error
    return runner


def import_custom_modules(config: Mapping[str, Any]) -> None:
    """Import the modules that register a model's own parts, or its twin's.

    Raises:
        ImBenchError: One of them cannot be imported.
    """
    networks = (config["model"], config.get("twin") or {})
    modules = [name for each in networks for name in each.get("custom_imports") or ()]
    if modules:
        try:
            import_modules_from_strings(modules)
        except ImportError as error:
            raise ImBenchError(
                f"custom_imports of the model: {error}: install the module or correct its name"
            ) from None
