"""Training in several processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from im_bench.errors import ImBenchError

LAUNCHERS = ("none", "pytorch", "slurm", "mpi")
_COUNTS = {
    "none": (),
    "pytorch": ("WORLD_SIZE",),
    "slurm": ("SLURM_NTASKS",),
    "mpi": ("OMPI_COMM_WORLD_SIZE",),
}


def count_processes(launcher: str) -> int:
    """Return how many processes a launcher has started, by its environment variables."""
    return next((int(os.environ[name]) for name in _COUNTS[launcher] if name in os.environ), 1)


def run_connected(config: Any, work: Callable[[], None]) -> None:
    """Do something in the processes of a launcher, and leave them together.

    MMEngine connects those that have GPUs; here others are.

    Args:
        config: Says by which launcher this process was started.
        work: What to do. What it builds must not outlive it.

    Raises:
        ImBenchError: There is no GPU, and another launcher than PyTorch's or none has started this
            process.
    """
    import torch
    from torch import distributed

    if config.launcher != "none" and not torch.cuda.is_available():
        _connect_cpus(config)
    work()
    if distributed.is_initialized():
        from im_bench.training.together import leave_together

        leave_together()


def _connect_cpus(config: Any) -> None:
    from torch import distributed

    if config.launcher != "pytorch" or "WORLD_SIZE" not in os.environ:
        raise ImBenchError(
            f"--launcher {config.launcher} finds no GPU and no processes of torchrun: start the "
            "command by torchrun with --launcher pytorch, or leave --launcher out"
        )
    distributed.init_process_group("gloo")
    config.model_wrapper_cfg = {
        "type": "MMDistributedDataParallel",
        "device_ids": None,
        "broadcast_buffers": False,
        "find_unused_parameters": config.get("find_unused_parameters", False),
    }
