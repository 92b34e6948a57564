"""One training in several processes of one machine, started, stopped and ended as one."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import tempfile
import traceback
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch._C._distributed_c10d import FileStore

from im_bench.errors import ImBenchError
from im_bench.training.control import Control, TrainingStopped
from im_bench.training.description import Training

_LOOK_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1  # Linux's prctl
_ERROR = 1

# What a process is told of the training: as of `train_together`, with its own threads.
_Work = tuple[Training, Path, Path, Path | None, str, int]


class LostProcess(RuntimeError):  # noqa: N818 - an event, not a mistake
    """A process of a training ended without a word; the training can go on from its last state."""


def train_together(
    processes: int,
    training: Training,
    data_dir: Path,
    folder: Path,
    pseudo_dir: Path | None = None,
    *,
    device: str = "auto",
    threads: int = 1,
    control: Control | None = None,
) -> dict[str, Any]:
    """Train one network in several processes, or continue where a former attempt was cut off.

    The batch is divided among them; gradients, batch normalisation and scores are those of all.
    What is drawn within a step, such as augmentation, is drawn in each process anew, so that
    trainings that draw differ from those in one process as two seeds do. If one process dies, the
    others are ended.

    Args:
        processes: How many; on GPUs, each has one.
        training: What is trained; its batch counts all processes.
        data_dir: See :func:`im_bench.training.cell.train_cell`, likewise the others.
        folder: The stage's folder.
        pseudo_dir: The folder of the pseudo-label stage, or None.
        device: A torch device, or ``"auto"``.
        threads: CPU threads of all processes.
        control: Who follows the training and may stop it.

    Returns:
        As :func:`~im_bench.training.cell.train_cell`.

    Raises:
        ImBenchError: Something in the data or the config cannot be.
        TrainingStopped: The control asked for it.
        LostProcess: A process died.
        Exception: A process raised it; of another than a built-in kind, a RuntimeError tells.
    """
    with tempfile.TemporaryDirectory(prefix="im-bench-") as meeting:  # network folders lack locks
        work = (training, data_dir, folder, pseudo_dir, device, max(1, threads // processes))
        heard, died = _follow(processes, Path(meeting, "processes"), work, control or Control())
    if "outcome" in heard:
        outcome: dict[str, Any] = heard["outcome"]
        return outcome
    if "refused" in heard:
        raise ImBenchError(heard["refused"])
    if died or not heard:  # Others complain then that they hear nothing of it.
        why = ", ".join(died) or "no reason is known"
        raise LostProcess(
            f"one of {processes} processes died ({why}), and the others were ended: the training "
            "goes on from its last state"
        )
    if "failed" in heard:
        raise heard["failed"]
    raise TrainingStopped(heard["stopped"])


def _follow(
    processes: int, rendezvous: Path, work: _Work, control: Control
) -> tuple[dict[str, Any], list[str]]:
    """Run the processes to their end; return what they said, and signals that killed any."""
    context = multiprocessing.get_context("spawn")
    stop, said = context.Event(), context.SimpleQueue()
    workers = [
        context.Process(
            target=_worker, args=(rank, processes, os.getpid(), rendezvous, stop, said, work)
        )
        for rank in range(processes)
    ]
    heard: dict[str, Any] = {}
    try:
        for worker in workers:
            worker.start()
        while any(worker.exitcode is None for worker in workers):
            wait([each.sentinel for each in workers if each.exitcode is None], _LOOK_SECONDS)
            _listen(said, heard, control)
            if any(worker.exitcode for worker in workers):
                break
            if control.stop.is_set():
                stop.set()
        codes = [worker.exitcode or 0 for worker in workers]
        died = [signal.strsignal(-code) or f"signal {-code}" for code in codes if code < 0]
    finally:
        for worker in workers:
            if worker.pid is not None:
                worker.kill()
                worker.join()
    _listen(said, heard, control)
    return heard, died


def _listen(said: Any, heard: dict[str, Any], control: Control) -> None:
    while not said.empty():
        kind, value = said.get()
        if kind == "progress":
            if control.progress is not None:
                step, total, numbers = value
                control.progress(step, total, **numbers)
        else:
            heard.setdefault(kind, value)


def _worker(
    rank: int, processes: int, parent: int, rendezvous: Path, stop: Any, said: Any, work: _Work
) -> None:
    """Train as one of several processes. What it builds must not outlive it."""
    _end_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):  # whoever started the training asks by ``stop``
        signal.signal(number, signal.SIG_IGN)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(processes), LOCAL_RANK=str(rank))
    try:
        outcome = _train(rank, processes, rendezvous, stop, said, *work)
    except TrainingStopped as stopped:
        said.put(("stopped", str(stopped)))
        os._exit(0)
    except ImBenchError as error:
        said.put(("refused", str(error)))
        os._exit(_ERROR)
    except Exception as error:
        traceback.print_exc()
        said.put(("failed", _built_in(error)))
        sys.stderr.flush()
        os._exit(_ERROR)
    if rank == 0:
        said.put(("outcome", outcome))
    leave_together()
    os._exit(0)  # without a word of threads that PyTorch leaves


def _train(
    rank: int,
    processes: int,
    rendezvous: Path,
    stop: Any,
    said: Any,
    training: Training,
    data_dir: Path,
    folder: Path,
    pseudo_dir: Path | None,
    device: str,
    threads: int,
) -> dict[str, Any]:
    from im_bench.training.cell import train_cell
    from im_bench.training.config import resolve_device

    where = resolve_device(device)
    on_gpus = where.type == "cuda"
    if on_gpus:
        where = torch.device("cuda", rank)
        torch.cuda.set_device(where)
    distributed.init_process_group(
        "nccl" if on_gpus else "gloo",
        store=FileStore(str(rendezvous), processes),
        rank=rank,
        world_size=processes,
    )

    def progress(step: int, total: int, **numbers: float) -> None:
        said.put(("progress", (step, total, numbers)))

    return train_cell(
        training,
        data_dir,
        folder,
        pseudo_dir,
        device=str(where),
        threads=threads,
        control=Control(progress if rank == 0 else None, stop),
        processes=processes,
    )


def _built_in(error: Exception) -> Exception:
    """Return an error that any process can read, and that is of the same built-in kind."""
    if type(error).__module__ == "builtins":
        return error
    told = f"{type(error).__name__}: {error}"
    return MemoryError(told) if isinstance(error, MemoryError) else RuntimeError(told)


def leave_together() -> None:
    """Close the connection to the other processes.

    Nothing may use it any more: a model that is wrapped for distributed training keeps the
    connection's threads alive, and if one of them still wants Python when the interpreter ends, it
    aborts the process.
    """
    gc.collect()  # The runner and its hooks refer to each other.
    distributed.barrier()  # whoever leaves early can make others abort
    distributed.destroy_process_group()


def _end_with(parent: int) -> None:
    """End this process when its parent does: a stage must not be written by two."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # It died before.
            os._exit(_ERROR)
