"""The small U-Net of the original implementation, as an MMSegmentation backbone and head.

Its blocks mix channels by 1x1 convolutions, and its skip connections add instead of concatenating.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from im_bench.errors import ImBenchError

_NORM_EPSILON = 1e-3  # Keras' default, which the original keeps
_LEVELS = 4
_DIVISOR = 2**_LEVELS


@MODELS.register_module()
class UNet1x1(BaseModule):
    """Encoder and decoder up to the last feature map; the output layer is :class:`UNet1x1Head`.

    Every convolution keeps the size, has a bias and is followed by a ReLU; batch normalisation
    comes after the activation. Widths are multiples of ``width``: 16, 32, 64, 128 down, 256 at the
    bottom, and back.

    Args:
        in_channels: Channels of the image.
        width: The original's factor alpha: 0.5 on ISIC 2018, 1 elsewhere.
        norm_momentum: Share of the newest batch in the running statistics of batch normalisation
            (original: 0.01). Short trainings want more: at 0.01 the statistics lag by hundreds of
            steps, and a network that has learnt looks as if it had not.
        init_cfg: MMEngine's; without one the convolutions start as Keras' ``he_normal``.
    """

    def __init__(
        self,
        in_channels: int = 3,
        width: float = 1.0,
        norm_momentum: float = 0.01,
        init_cfg: dict[str, object] | None = None,
    ) -> None:
        super().__init__(init_cfg)

        def norm(channels: int) -> nn.Module:
            return nn.BatchNorm2d(channels, eps=_NORM_EPSILON, momentum=norm_momentum)

        f1, f2, f3, f4, f5 = (unet1x1_channels(width, level) for level in range(_LEVELS + 1))
        self.stem = nn.Sequential(*_conv(in_channels, f1, 1), norm(f1))
        self.encoder = nn.ModuleList(
            nn.Sequential(*_conv(before, after, 3), *_conv(after, after, 1), norm(after))
            for before, after in ((f1, f1), (f1, f2), (f2, f3), (f3, f4))
        )
        self.bottom = nn.Sequential(*_conv(f4, f5, 3), *_conv(f5, f4, 1), norm(f4))
        self.decoder = nn.ModuleList(
            nn.Sequential(
                *_conv(before, before, 1),
                norm(before),
                *_conv(before, before, 3),
                *_conv(before, after, 1),
                norm(after),
            )
            for before, after in ((f4, f3), (f3, f2), (f2, f1), (f1, f1))
        )

    def init_weights(self) -> None:
        """Draw the first weights."""
        super().init_weights()
        if self.init_cfg is None:
            he_normal(self)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the decoder's last feature map, (B, 16 * width, H, W).

        Sides that are no multiples of 16 are padded with zeros, on the right and below, and the map
        is cut off there: what an image gives that is padded with black when it is packed.

        Args:
            x: Images (B, C, H, W) in 0..1.
        """
        height, width = x.shape[-2:]
        right, below = -width % _DIVISOR, -height % _DIVISOR
        if right or below:
            x = F.pad(x, (0, right, 0, below))
        (features,) = self.decode(self.encode(x))
        return (features[..., :height, :width],)

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the maps that the decoder reads: four skips, finest first, and the bottom.

        Args:
            x: Images (B, C, H, W) in 0..1.

        Raises:
            ImBenchError: A side is not a multiple of 16.
        """
        height, width = x.shape[-2:]
        if height % _DIVISOR or width % _DIVISOR:
            raise ImBenchError(
                f"the 1x1 U-Net learns from images whose sides are multiples of {_DIVISOR}, not "
                f"{width}x{height}: change the data set's `crop`, or without one its `size`"
            )
        x = self.stem(x)
        skips = []
        for block in self.encoder:
            skips.append(block(x))
            x = F.max_pool2d(skips[-1], 2)
        return (*skips, self.bottom(x))

    def decode(self, features: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Return the last feature map from what :meth:`encode` gave."""
        *skips, x = features
        for block in self.decoder:
            x = block(F.interpolate(x, scale_factor=2, mode="nearest") + skips.pop())
        return (x,)


@MODELS.register_module()
class UNet1x1Head(BaseDecodeHead):
    """The output layer of :class:`UNet1x1`: one 1x1 convolution.

    Args:
        width: As the backbone's.
        kwargs: As for any MMSegmentation head, ``num_classes`` above all.
    """

    def __init__(self, width: float = 1.0, **kwargs: object) -> None:
        channels = unet1x1_channels(width, 0)
        defaults = {"dropout_ratio": 0.0, "init_cfg": None}
        super().__init__(in_channels=channels, channels=channels, **{**defaults, **kwargs})

    def init_weights(self) -> None:
        """Draw the first weights."""
        super().init_weights()
        if self.init_cfg is None:
            he_normal(self)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return logits (B, C, H, W) from the backbone's feature maps."""
        logits: Tensor = self.cls_seg(self._transform_inputs(inputs))
        return logits


def unet1x1_channels(width: float, level: int) -> int:
    """Return the channels at a level of the U-Net, 0 being the finest and 4 the bottom.

    Raises:
        ImBenchError: The width gives no whole number of channels.
    """
    channels = 16 * width
    if channels < 1 or channels != int(channels):
        raise ImBenchError(f"width {width} of the 1x1 U-Net must be a multiple of 1/16, above 0")
    return int(channels) << level


def he_normal(module: nn.Module) -> None:
    """Initialise every convolution like Keras' ``he_normal``, with biases at 0.

    Keras draws from a normal distribution that is cut at two standard deviations and widened so
    that the variance is 2 / fan-in nevertheless.
    """
    cut_std = 0.87962566103423978  # standard deviation of a unit normal that is cut at 2
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
            std = math.sqrt(2 / fan_in) / cut_std
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _conv(before: int, after: int, kernel: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(before, after, kernel, padding=kernel // 2), nn.ReLU(inplace=True)
