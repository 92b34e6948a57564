"""One way to use any encoder-decoder of MMSegmentation: features, logits, perturbed features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from im_bench.errors import ImBenchError
from im_bench.models.segmentor import LabelSpaceSegmentor

Features = tuple[Tensor, ...]


class Network:
    """A segmentor as the methods see it. Holds no state of its own.

    Args:
        segmentor: An ``EncoderDecoder``, such as :class:`LabelSpaceSegmentor`, whose decode head
            gives logits.
    """

    def __init__(self, segmentor: Any) -> None:
        self.segmentor = segmentor

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 logits (B, C, H, W) for normalised images (B, C', H, W)."""
        return self.decode(self.encode(images), images.shape[-2:])

    def encode(self, images: Tensor) -> Features:
        """Return the feature maps that the decoder reads.

        For the 1x1 U-Net, whose decoder is part of the backbone, these are the encoder's.
        """
        with self._autocast(images):
            encode = getattr(self.segmentor.backbone, "encode", None)
            return tuple(encode(images) if encode else self.segmentor.extract_feat(images))

    def widths(self) -> list[int]:
        """Return the channels of each map that :meth:`encode` gives, by passing a small image."""
        first = next(m for m in self.segmentor.backbone.modules() if isinstance(m, nn.Conv2d))
        side = 112  # a multiple of what vision transformers and U-Nets divide by
        image = first.weight.new_zeros(1, first.in_channels, side, side)
        with self.evaluating(), torch.no_grad():
            return [each.shape[1] for each in self.encode(image)]

    def decode(self, features: Features, size: Sequence[int]) -> Tensor:
        """Return float32 logits (B, C, *size)."""
        return self.resize(self._logits(features), size)

    def decode_with_joined(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return logits and the input of :attr:`classifying`, both at their own resolution.

        Returns:
            float32 (B, C, h, w), and (B, D, h, w).
        """
        joined: list[Tensor] = []
        hook = self.classifying.register_forward_pre_hook(
            lambda _, inputs: joined.append(inputs[0])
        )
        with hook:
            logits = self._logits(features).float()
        return logits, joined[-1]

    @contextmanager
    def contexts(self) -> Iterator[list[Tensor]]:
        """Collect what each pass in the meantime knows of a pixel's surroundings, (B, D, h, w).

        That is the map to which the decode head sums up its pyramid, coarse and before finer maps
        join it: the output of its ``projection`` (:class:`DeepLabV3PlusHead`) or ``bottleneck``
        (MMSegmentation's ASPP and pyramid pooling heads). A head that has neither gives the input
        of its last convolution.

        Raises:
            ImBenchError: The head has no such convolution either.
        """
        maps: list[Tensor] = []
        head = self.segmentor.decode_head
        pyramid = getattr(head, "projection", None) or getattr(head, "bottleneck", None)
        hook = (
            pyramid.register_forward_hook(lambda _, inputs, output: maps.append(output))
            if isinstance(pyramid, nn.Module)
            else self.classifier.register_forward_pre_hook(lambda _, inputs: maps.append(inputs[0]))
        )
        with hook:
            yield maps

    def auxiliary(self, features: Features, size: Sequence[int]) -> list[Tensor]:
        """Return the float32 logits (B, C, *size) of each auxiliary head."""
        if not self.segmentor.with_auxiliary_head:
            return []
        heads = self.segmentor.auxiliary_head
        with self._autocast(features[0]):
            heads = heads if isinstance(heads, nn.ModuleList) else [heads]
            logits = [head(features) for head in heads]
        return [self.resize(each, size) for each in logits]

    def resize(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Return logits (B, C, h', w') as float32 (B, C, *size), as the decode head resizes."""
        if tuple(logits.shape[-2:]) == tuple(size):
            return logits.float()
        corners = self.segmentor.decode_head.align_corners
        return F.interpolate(logits.float(), tuple(size), mode="bilinear", align_corners=corners)

    def predict(self, images: Tensor) -> Tensor:
        """Return logits of the network in evaluation mode, without gradient.

        The mode of every layer is as before afterwards.
        """
        with self.evaluating(), torch.no_grad():
            return self(images)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Put every layer into evaluation mode for a while."""
        was_training = [each for each in self.segmentor.modules() if each.training]
        for each in was_training:
            each.training = False
        try:
            yield
        finally:
            for each in was_training:
                each.training = True

    @staticmethod
    def perturb(features: Features, drop: float) -> Features:
        """Return feature maps of which whole channels are dropped, the others scaled up."""
        return tuple(F.dropout2d(each, drop) for each in features)

    @property
    def classifying(self) -> nn.Module:
        """The first layers that only the classification has: what branches off reads their input.

        In DeepLabV3+ they begin where the pyramid's projection and the finer map are joined: at
        ``fusion`` (:class:`DeepLabV3PlusHead`) or ``sep_bottleneck`` (MMSegmentation's separable
        head). A head that does not join maps once, such as those of U-Net and DPT, which join one
        at each scale, has nothing of the kind but its last convolution.

        Raises:
            ImBenchError: The decode head has no such convolution either.
        """
        head = self.segmentor.decode_head
        layers = getattr(head, "fusion", None) or getattr(head, "sep_bottleneck", None)
        return layers if isinstance(layers, nn.Sequential) else self.classifier

    @property
    def classifier(self) -> nn.Conv2d:
        """The last convolution of the decode head.

        Raises:
            ImBenchError: The decode head has no such convolution.
        """
        head = getattr(self.segmentor, "decode_head", None)
        last = getattr(head, "conv_seg", None)
        if not isinstance(last, nn.Conv2d):
            raise ImBenchError(
                f"the decode head {type(head).__name__} has no convolution named conv_seg, from "
                "whose input pixel features are computed: use another head or a method without them"
            )
        return last

    def _logits(self, features: Features) -> Tensor:
        with self._autocast(features[0]):
            decode = getattr(self.segmentor.backbone, "decode", None)
            head = self.segmentor.decode_head
            logits = head(decode(features) if decode else features)
        if not isinstance(logits, Tensor):
            raise ImBenchError(
                f"the decode head {type(head).__name__} gives no logits of pixels but a "
                f"{type(logits).__name__}: use a head whose forward does"
            )
        return logits

    def _autocast(self, like: Tensor) -> AbstractContextManager[object]:
        if isinstance(self.segmentor, LabelSpaceSegmentor):
            return self.segmentor.autocast(like)
        return nullcontext()
