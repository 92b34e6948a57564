"""The batch of all processes of one training, and the part of each."""

from __future__ import annotations

from typing import Any

from im_bench.errors import ImBenchError


def divide_batch(config: Any, processes: int) -> None:
    """Divide the batch among processes, where a config says that it counts all of them.

    That is ``batch_is_total = True``, as in im-bench's own configs and those of cells, which so
    train alike on any number of GPUs. What counts pixels per batch (``min_kept``) is divided alike.

    Raises:
        ImBenchError: The batch is no number, or cannot be divided.
    """
    if not config.get("batch_is_total"):
        return
    batch = config.train_dataloader.batch_size
    if not isinstance(batch, int) or batch < 1:
        raise ImBenchError(f"train_dataloader.batch_size is {batch!r}: name a number of images")
    if batch % processes:
        raise ImBenchError(
            f"a batch of {batch} images cannot be divided among {processes} processes: start "
            "another number of them, or set train_dataloader.batch_size"
        )
    config.train_dataloader.batch_size = batch // processes
    loss = config.model.get("labelled_loss")
    if loss is not None and "min_kept" in loss:
        loss.min_kept = loss.min_kept // processes
    config.batch_is_total = False  # the config that is kept tells what each process did
