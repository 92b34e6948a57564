"""What PyTorch and MMSegmentation raise in a step for wrong settings, as one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_world_size
from torch import nn

from im_bench.data.tickets import TicketSampler
from im_bench.errors import ImBenchError
from im_bench.plugin.data import LabelledUnlabelledSampler
from im_bench.plugin.networks import unwrapped
from im_bench.training.small_batches import naming_batch, normalises_pooled_images, one_image

_BATCH = "train_dataloader.batch_size"
_ENDLESS = (InfiniteSampler, TicketSampler, LabelledUnlabelledSampler)
_WRONG_LABEL = ("is out of bounds", "device-side assert", "its label must have at most 2 classes")


@contextmanager
def explained_steps() -> Iterator[None]:
    """Turn errors of a training's steps that settings cause into ImBenchErrors.

    Raises:
        ImBenchError: A batch of one image cannot be normalised, a label is of no class, or the
            memory of the GPU does not suffice.
    """
    try:
        with naming_batch(_BATCH):
            yield
    except torch.OutOfMemoryError as error:
        raise ImBenchError(
            f"the GPU has too little memory for a step: lower {_BATCH} or the size of crops, or "
            "give --amp"
        ) from error
    except (AssertionError, IndexError, RuntimeError) as error:
        if not any(words in str(error) for words in _WRONG_LABEL):
            raise
        reason = str(error).partition("\n")[0]
        raise ImBenchError(
            f"a label or the padding of a map is of no class ({reason}): set num_classes, "
            "ignore_index and seg_pad_val so that each label is a class or ignored"
        ) from error


def check_batches(runner: Any) -> None:
    """Raise an ImBenchError if a batch of a training has one image, and the network needs two.

    Semi-supervised methods join several images to one batch, so that only their steps can tell.
    """
    model: Any = unwrapped(runner.model)
    synchronised = get_world_size() > 1 and any(
        isinstance(each, nn.SyncBatchNorm) for each in model.modules()
    )
    if hasattr(model, "method") or synchronised or not normalises_pooled_images(model):
        return
    loader = runner.train_dataloader
    size = loader.batch_size
    if size == 1:
        raise one_image(f"{_BATCH} is 1", "set it to 2 or more")
    if size and not loader.drop_last and not isinstance(loader.sampler, _ENDLESS):
        images = len(loader.sampler)
        if images % size == 1:
            raise one_image(
                f"the last of the batches of {size} from {images} images has one image",
                f"set train_dataloader.drop_last=True, or another {_BATCH}",
            )
