"""One training of a suite's cell, from its description to its outcome."""

from __future__ import annotations

import logging
import statistics
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process

from im_bench.data.arrays import read_meta
from im_bench.models.checkpoints import load_checkpoint
from im_bench.models.segmentor import deployed
from im_bench.plugin.networks import unwrapped
from im_bench.training.batch import divide_batch
from im_bench.training.config import build_config, resolve_device
from im_bench.training.control import Control
from im_bench.training.description import Training
from im_bench.training.hooks import BEST, FILE
from im_bench.training.runner import TrainingRunner, run
from im_bench.training.samples import write_samples, write_unlabelled_samples
from im_bench.training.scalars import read_rows
from im_bench.training.validation import ONLY_LABEL, one_label_warning

log = logging.getLogger(__name__)


def train_cell(
    training: Training,
    data_dir: Path,
    folder: Path,
    pseudo_dir: Path | None = None,
    *,
    device: str = "auto",
    threads: int = 1,
    control: Control | None = None,
    processes: int = 1,
) -> dict[str, Any]:
    """Train one network, or continue where a former attempt was cut off.

    ``folder`` receives ``best.pth``, ``scratch/last.pth``, ``scalars.jsonl`` and ``samples/``.

    Args:
        training: What is trained.
        data_dir: The folder ``arrays`` of the data stage.
        folder: The stage's folder.
        pseudo_dir: The folder of the pseudo-label stage, or None.
        device: A torch device, or ``"auto"``.
        threads: CPU threads.
        control: Who follows the training and may stop it.
        processes: Of the training, of which this is one; see
            :func:`im_bench.training.together.train_together`.

    Returns:
        ``val`` (metrics of the best model), ``best_iteration``, ``iterations``, ``images`` (that
        the training drew from), ``images_per_second`` (median over the curve), ``final_loss``,
        ``parameters``, on a GPU ``peak_memory`` in bytes, and a ``warning`` where the network
        predicts one label only.

    Raises:
        ImBenchError: Something in the data or the config cannot be, or the loss is not finite.
        TrainingStopped: The control asked for it.
    """
    torch.set_num_threads(threads)
    where = resolve_device(device)
    config = build_config(training, data_dir, folder, pseudo_dir, where)
    config.launcher = "none" if processes == 1 else "pytorch"
    divide_batch(config, processes)
    runner = run(config, control)
    if not is_main_process():
        return {}
    outcome = _outcome(runner, folder)
    model: Any = unwrapped(runner.model)
    write_samples(model, runner.val_dataloader.dataset, folder / "samples")
    if pseudo_dir is not None:
        write_unlabelled_samples(model, data_dir, folder / "samples")
    label = outcome["val"].pop(ONLY_LABEL, None)
    if label is not None:
        outcome["warning"] = one_label_warning(label, read_meta(data_dir))
        log.warning("%s", outcome["warning"])
    if where.type == "cuda":
        outcome["peak_memory"] = torch.cuda.max_memory_allocated(where)
    return outcome


def _outcome(runner: TrainingRunner, folder: Path) -> dict[str, Any]:
    """Return what a finished training leaves; its model is the best one afterwards."""
    best = load_checkpoint(folder / BEST)
    network = deployed(unwrapped(runner.model))
    network.load_state_dict(best["state_dict"])
    curve = [row for row in read_rows(folder / FILE) if "train/loss" in row]
    return {
        "val": best["meta"]["metrics"],
        "best_iteration": best["meta"]["iter"],
        "iterations": runner.max_iters,
        "images": len(runner.train_dataloader.dataset),
        "images_per_second": statistics.median(row["images_per_second"] for row in curve),
        "final_loss": curve[-1]["train/loss"],
        "parameters": sum(each.numel() for each in network.parameters()),
    }
