"""The decoder of DeepLabV3+ as semi-supervised segmentation uses it, and its auxiliary head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import FCNHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

Activation = dict[str, Any]
Config = dict[str, Any] | list[dict[str, Any]]


class _Layer(ConvModule):
    """A ``ConvModule`` that leaves its first weights to the head.

    MMCV's own draws them anew, wider, wherever MMEngine finds it as a direct child of a module.
    """

    def init_weights(self) -> None:
        """Keep the weights."""


class _PyTorchStart(BaseDecodeHead):
    """A head whose convolutions start as PyTorch draws them, unless ``init_cfg`` says otherwise.

    That is uniform in ±1/sqrt(fan in), of standard deviation 1/sqrt(3 fan in), for weights, and
    uniform in ±1/sqrt(fan in) for biases: the original implementations of UniMatch, U2PL and iMAS
    draw nothing themselves. MMCV's layers and MMSegmentation's classifier start otherwise.
    """

    def init_weights(self) -> None:
        """Draw the first weights."""
        super().init_weights()
        if self.init_cfg is None:
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d):
                    layer.reset_parameters()


@MODELS.register_module()
class DeepLabV3PlusHead(_PyTorchStart):
    """A pyramid of dilated convolutions, joined with a finer map, and two 3x3 convolutions.

    In contrast to MMSegmentation's ``DepthwiseSeparableASPPHead`` no convolution is separable. The
    defaults are UniMatch's, and iMAS' at output stride 16. The others are

    * iMAS at output stride 8: ``dilations=(12, 24, 36)``;
    * U2PL: ``dilations=(12, 24, 36)``, ``c1_channels=256``, ``projection_kernel=3`` and
      ``dropout_ratio=0.1``;
    * CPS and FPL: ``aspp_act_cfg=dict(type="LeakyReLU")``. They normalise the pyramid's branches
      together, which is the same: batch normalisation treats every channel by itself.

    Args:
        in_channels: Of the coarse map, the backbone's last.
        channels: Of each layer of the decoder, up to the input of the classifier ``conv_seg``.
        dilations: Of the pyramid's 3x3 convolutions; a 1x1 convolution and the image's mean join
            them.
        c1_in_channels: Of the fine map, the backbone's first.
        c1_channels: To which the fine map is reduced.
        projection_kernel: Side of the convolution that sums the pyramid up.
        dropout_ratio: Share of the channels dropped after the projection and after each of the two
            3x3 convolutions, in training.
        aspp_act_cfg: Activation in the pyramid and its projection; default: ``act_cfg``.
        align_corners: How maps and logits are resized.
        init_cfg: MMEngine's; default: the convolutions start as PyTorch draws them, which is how
            those of UniMatch, U2PL and iMAS do. CPS and FPL draw theirs from a normal distribution:
            ``dict(type="Kaiming", layer="Conv2d", mode="fan_in")``.
        kwargs: As for any head of MMSegmentation, ``num_classes`` above all.

    Source: original implementations of UniMatch, ``deeplabv3plus.py``, and U2PL, ``decoder.py``.
    """

    def __init__(
        self,
        in_channels: int = 2048,
        channels: int = 256,
        dilations: Sequence[int] = (6, 12, 18),
        c1_in_channels: int = 256,
        c1_channels: int = 48,
        projection_kernel: int = 1,
        dropout_ratio: float = 0.0,
        aspp_act_cfg: Activation | None = None,
        align_corners: bool = True,
        init_cfg: Config | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels,
            channels,
            dropout_ratio=dropout_ratio,
            align_corners=align_corners,
            init_cfg=init_cfg,
            **kwargs,
        )

        pyramid = aspp_act_cfg or self.act_cfg
        self.branches = nn.ModuleList(
            [
                self._conv(in_channels, channels, 1, pyramid),
                *(self._conv(in_channels, channels, 3, pyramid, each) for each in dilations),
            ]
        )
        self.image_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), self._conv(in_channels, channels, 1, pyramid)
        )
        branches = len(dilations) + 2
        self.projection = nn.Sequential(
            self._conv(branches * channels, channels, projection_kernel, pyramid),
            nn.Dropout2d(dropout_ratio),
        )
        self.c1_reduction = self._conv(c1_in_channels, c1_channels, 1, self.act_cfg)
        # After the second of these convolutions, `cls_seg` drops channels.
        self.fusion = nn.Sequential(
            self._conv(channels + c1_channels, channels, 3, self.act_cfg),
            nn.Dropout2d(dropout_ratio),
            self._conv(channels, channels, 3, self.act_cfg),
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return logits (B, classes, h, w) of the fine map's size.

        Args:
            inputs: The backbone's maps; the first and the last are read.
        """
        logits: Tensor = self.cls_seg(self.fusion(self.joined(inputs)))
        return logits

    def joined(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the pyramid's projection and the reduced fine map, which ``fusion`` reads.

        U2PL's head for representations branches off here.

        Returns:
            (B, channels + c1_channels, h, w).
        """
        fine, coarse = self.c1_reduction(inputs[0]), self._transform_inputs(inputs)
        pyramid = [branch(coarse) for branch in self.branches]
        pyramid.append(self.image_pool(coarse).expand_as(pyramid[0]))
        projected = self.projection(torch.cat(pyramid, dim=1))
        resized = F.interpolate(
            projected, fine.shape[2:], mode="bilinear", align_corners=self.align_corners
        )
        return torch.cat([resized, fine], dim=1)

    def _conv(
        self, before: int, after: int, kernel: int, act_cfg: Activation, dilation: int = 1
    ) -> _Layer:
        """Return a convolution that keeps the size, with normalisation and activation."""
        return _Layer(
            before,
            after,
            kernel,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            norm_cfg=self.norm_cfg,
            act_cfg=act_cfg,
        )


@MODELS.register_module()
class AuxiliaryHead(_PyTorchStart, FCNHead):
    """MMSegmentation's ``FCNHead``, whose convolutions start as PyTorch draws them.

    Args:
        init_cfg: MMEngine's; default: see above.
        kwargs: As for ``FCNHead``.

    Source: original implementations of U2PL and iMAS, ``decoder.py``, ``Aux_Module``.
    """

    def __init__(self, init_cfg: Config | None = None, **kwargs: Any) -> None:
        super().__init__(init_cfg=init_cfg, **kwargs)
