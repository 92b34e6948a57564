"""Batches that are too small for batch normalisation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from im_bench.errors import ImBenchError

_PYTORCH_SAYS = "Expected more than 1 value per channel"


@contextmanager
def naming_batch(setting: str) -> Iterator[None]:
    """Turn what PyTorch says of batch normalisation on a single value into one sentence.

    Args:
        setting: What sets the size of a batch, such as ``train_dataloader.batch_size``.

    Raises:
        ImBenchError: A batch of one image met a layer that normalises one pixel per image.
    """
    try:
        yield
    except ValueError as error:
        if _PYTORCH_SAYS not in str(error):
            raise
        raise one_image(
            "a batch has one image", f"set {setting} so that each batch has 2 images or more"
        ) from error


def one_image(why: str, remedy: str) -> ImBenchError:
    """Return the error for a batch of one image."""
    return ImBenchError(
        f"{why}, from which BatchNorm cannot learn where the network has pooled an image to one "
        f"pixel: {remedy}"
    )


def normalises_pooled_images(network: nn.Module) -> bool:
    """Return whether batch normalisation follows a pooling of whole images, as in ASPP and PSP.

    Only sequences are looked at, so that "no" does not mean that there is none.
    """
    for sequence in network.modules():
        if not isinstance(sequence, nn.Sequential):
            continue
        pooled = False
        for layer in sequence:
            if isinstance(layer, nn.AdaptiveAvgPool2d):
                pooled = layer.output_size in (1, (1, 1))
            elif pooled and any(isinstance(each, _BatchNorm) for each in layer.modules()):
                return True
    return False
