"""Feature vectors of pixels, for losses that compare pixels: a head, and how it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from im_bench.semi.network import Features, Network

_STRIDE = 4


class RepresentationHead(nn.Module):
    """Two 3x3 convolutions and a 1x1, from joined maps to features of each pixel.

    Args:
        in_channels: Of the joined maps; see :func:`joined_channels`.
        features: D, the length of the feature vectors.
        dropout: Share of whole channels that are dropped after each 3x3 convolution.

    Source: Wang et al., U2PL, CVPR 2022; original implementation, ``dec_deeplabv3_plus``. There
    as here the head stands beside layers of the same shape that end in the classifier, and both
    read the joined maps; see :attr:`Network.classifying`, also for networks that join none.
    """

    def __init__(self, in_channels: int, features: int = 256, dropout: float = 0.1) -> None:
        super().__init__()

        def block(channels: int) -> list[nn.Module]:
            return [
                nn.Conv2d(channels, features, 3, padding=1),
                nn.BatchNorm2d(features),
                nn.ReLU(inplace=True),
                nn.Dropout2d(dropout),
            ]

        self.layers = nn.Sequential(
            *block(in_channels), *block(features), nn.Conv2d(features, features, 1)
        )

    def forward(self, joined: Tensor, size: Sequence[int]) -> Tensor:
        """Return float32 features (B, D, h, w), of stride 4 or that of the maps if it is coarser.

        Args:
            joined: The joined maps, (B, D', h', w').
            size: Height and width of the images.
        """
        # The network's own autocast, if any, ended before this head; its type tells.
        precision = joined.dtype
        context = (
            nullcontext()
            if precision == torch.float32
            else torch.autocast(joined.device.type, dtype=precision)
        )
        with context:
            features: Tensor = self.layers(pooled(joined, size))
        return features.float()


class Reading(NamedTuple):
    """What a network and its representation head say of B images.

    Attributes:
        features: Feature maps that the decoder reads.
        logits: At the network's own resolution, float32 (B, C, h', w').
        representation: Of stride 4 or coarser, float32 (B, D, h, w).
    """

    features: Features
    logits: Tensor
    representation: Tensor


def read(network: Network, head: nn.Module, images: Tensor) -> Reading:
    """Pass normalised images (B, C, H, W) through a network and its representation head."""
    features = network.encode(images)
    logits, joined = network.decode_with_joined(features)
    return Reading(features, logits, head(joined, images.shape[-2:]))


@contextmanager
def training_mode(*modules: nn.Module) -> Iterator[None]:
    """Put modules into training mode for a while; the mode of every layer is as before then."""
    were_evaluating = [
        layer for module in modules for layer in module.modules() if not layer.training
    ]
    for module in modules:
        module.train()
    try:
        yield
    finally:
        for layer in were_evaluating:
            layer.training = False


def pooled(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Average maps that are finer than stride 4 to that stride; leave others as they are.

    Args:
        maps: (B, C, h', w').
        size: Height and width of the images.
    """
    stride = max(round(size[0] / maps.shape[-2]), 1)
    if stride >= _STRIDE:
        return maps
    return F.avg_pool2d(maps, _STRIDE // stride, ceil_mode=True)


def joined_channels(segmentor: nn.Module) -> int:
    """Return the channels of the map that a representation head of a segmentor reads.

    Raises:
        ImBenchError: The decode head has no last convolution.
    """
    layers = Network(segmentor).classifying.modules()
    return next(layer.in_channels for layer in layers if isinstance(layer, nn.Conv2d))
