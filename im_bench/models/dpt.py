"""The decoder of UniMatch V2: a DPT without batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from im_bench.errors import ImBenchError

_DEPTH = 4


@MODELS.register_module()
class NormFreeDPTHead(BaseDecodeHead):
    """Four maps of one size become a pyramid, which is fused from the coarsest on.

    MMSegmentation's ``DPTHead`` is another network: it wants class tokens, normalises, leaves out
    biases and has one more convolution, and it doubles the size in each fusion, which does not fit
    a grid of odd sides, such as the 57 patches of 798 pixels.

    The defaults are UniMatch V2's for DINOv2-S. For the others: B ``channels=128``,
    ``widths=(96, 192, 384, 768)``; L 256, (256, 512, 1024, 1024); g 384, (1536, 1536, 1536, 1536).
    The first unit of the coarsest fusion, which has nothing to add in the original, does not exist.

    The segmentor brings logits to the image's size. The original brings them to whole patches
    first, which is the same size where the image's sides are multiples of 14.

    Args:
        in_channels: Of each map: the backbone's width.
        channels: Of the fused maps.
        widths: Of the pyramid's four levels, finest first.
        align_corners: How maps and logits are resized.
        kwargs: As for any head of MMSegmentation, ``num_classes`` above all.

    Raises:
        ImBenchError: There are not four widths.

    Source: Ranftl et al., Vision Transformers for Dense Prediction, ICCV 2021;
    LiheYoung/UniMatch-V2, ``model/semseg/dpt.py``.
    """

    def __init__(
        self,
        in_channels: int = 384,
        channels: int = 64,
        widths: Sequence[int] = (48, 96, 192, 384),
        align_corners: bool = True,
        **kwargs: Any,
    ) -> None:
        if len(widths) != _DEPTH:
            raise ImBenchError(f"a DPT head has {_DEPTH} widths, not {len(widths)}: correct them")
        defaults = {"dropout_ratio": 0.0, "init_cfg": None}  # PyTorch's own, as in the original
        super().__init__(
            [in_channels] * _DEPTH,
            channels,
            in_index=list(range(_DEPTH)),
            input_transform="multiple_select",
            align_corners=align_corners,
            **{**defaults, **kwargs},
        )
        self.projections = nn.ModuleList(nn.Conv2d(in_channels, width, 1) for width in widths)
        self.rescalings = nn.ModuleList(
            [
                nn.ConvTranspose2d(widths[0], widths[0], 4, stride=4),
                nn.ConvTranspose2d(widths[1], widths[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(widths[3], widths[3], 3, stride=2, padding=1),
            ]
        )
        self.reductions = nn.ModuleList(
            nn.Conv2d(width, channels, 3, padding=1, bias=False) for width in widths
        )
        self.fusions = nn.ModuleList(
            Fusion(channels, align_corners, lateral=level < _DEPTH - 1) for level in range(_DEPTH)
        )
        self.last = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return logits (B, classes, 8 * h, 8 * w) of maps (B, D, h, w)."""
        maps = self._transform_inputs(inputs)
        layers = zip(maps, self.projections, self.rescalings, self.reductions, strict=True)
        levels = [reduce(rescale(project(each))) for each, project, rescale, reduce in layers]
        fused = None
        for level in reversed(range(_DEPTH)):
            height, width = levels[level].shape[-2:]
            size = levels[level - 1].shape[-2:] if level else (2 * height, 2 * width)
            fused = self.fusions[level](levels[level], fused, size)
        logits: Tensor = self.cls_seg(self.last(fused))
        return logits


class Fusion(nn.Module):
    """Add a level of the pyramid to what has been fused so far, and bring both to the next size.

    Args:
        channels: Of both.
        align_corners: How they are resized.
        lateral: Whether there is anything to add the level to.
    """

    def __init__(self, channels: int, align_corners: bool, lateral: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.lateral = _Residual(channels) if lateral else None
        self.residual = _Residual(channels)
        self.projection = nn.Conv2d(channels, channels, 1)

    def forward(self, level: Tensor, fused: Tensor | None, size: Sequence[int]) -> Tensor:
        """Return a map (B, channels, *size)."""
        if fused is not None and self.lateral is not None:
            level = fused + self.lateral(level)
        level = F.interpolate(
            self.residual(level), tuple(size), mode="bilinear", align_corners=self.align_corners
        )
        projected: Tensor = self.projection(level)
        return projected


class _Residual(nn.Module):
    """Two convolutions, each after its activation, and what they are added to."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = x + self.convolutions(x)
        return added
