"""1x1 convolutions on a CPU."""

from __future__ import annotations

from torch import nn


def prefer_onednn(model: nn.Module) -> None:
    """Let the 1x1 convolutions of a model on a CPU run on oneDNN, whatever batch and threads.

    With a single thread and fewer than 16 images PyTorch chooses another routine for them, which
    takes twice as long on processors with AVX-512; not so for dilated ones (``use_mkldnn`` in
    ATen's Convolution.cpp). Dilation spreads the taps of a kernel, and a 1x1 kernel has only one:
    results differ by rounding at most. On other devices nothing is gained by it.

    Args:
        model: Its convolutions are changed in place. Checkpoints do not know of it.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
            layer.dilation = (2, 2)
