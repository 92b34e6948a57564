"""The ResNet of semi-supervised segmentation, with the weights that its papers start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.models.backbones import ResNetV1c
from mmseg.registry import MODELS
from torch import Tensor

from im_bench.errors import ImBenchError, unknown_name

_STRIDES_AND_DILATIONS = {
    8: ((1, 2, 1, 1), (1, 1, 2, 4)),
    16: ((1, 2, 2, 1), (1, 1, 1, 2)),
    32: ((1, 2, 2, 2), (1, 1, 1, 1)),
}

# The stem's layers as other files name them, and as MMSegmentation does.
_NESTED = {**{f"conv1.{i}": f"stem.{i}" for i in (0, 1, 3, 4, 6)}, "bn1": "stem.7"}
_NUMBERED = {
    **{"conv1": "stem.0", "conv2": "stem.3", "conv3": "stem.6"},
    **{"bn1": "stem.1", "bn2": "stem.4", "bn3": "stem.7"},
}


@MODELS.register_module()
class DilatedResNet(ResNetV1c):
    """MMSegmentation's ``ResNetV1c`` in the shape that UniMatch, U2PL, iMAS and CPS share.

    Its stem has 64, 64 and 128 channels, twice those of ``open-mmlab://resnet50_v1c``. The first
    block of a dilated stage keeps the dilation of the stage before. It loads weights under
    MMSegmentation's names, under the originals' (``conv1.0.weight``) and under those of CSAIL's
    ``resnet50-imagenet.pth`` (``conv1.weight``).

    Args:
        depth: 50, 101 or 152.
        output_stride: Of the last feature map: 8, 16, or 32, which is without dilation.
        multi_grid: Factors of the dilations of the last stage's three blocks, such as (2, 2, 4).
        ceil_mode: Round up the size in max-pooling.
        stem_channels: Of the stem's last convolution; the first two have half of them.
        kwargs: As for ``ResNetV1c``.

    Raises:
        ImBenchError: The output stride is unknown; or, on loading, the weights belong to another
            stem.

    Source: original implementations of UniMatch and U2PL, ``resnet.py``.
    """

    def __init__(
        self,
        depth: int = 50,
        output_stride: int = 16,
        multi_grid: Sequence[int] | None = None,
        ceil_mode: bool = False,
        stem_channels: int = 128,
        **kwargs: Any,
    ) -> None:
        if output_stride not in _STRIDES_AND_DILATIONS:
            known = map(str, _STRIDES_AND_DILATIONS)
            raise unknown_name("output stride", str(output_stride), known)
        strides, dilations = _STRIDES_AND_DILATIONS[output_stride]
        super().__init__(
            depth=depth,
            stem_channels=stem_channels,
            strides=strides,
            dilations=dilations,
            contract_dilation=True,
            multi_grid=_block_dilations(dilations[-1], multi_grid),
            **kwargs,
        )
        self.maxpool.ceil_mode = ceil_mode

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        _rename_stem(state, prefix)
        # MMEngine only logs weights that do not fit; a stem without its weights costs much IoU.
        whole, last = f"{prefix}layer1.0.conv1.weight", f"{prefix}stem.6.weight"
        channels = self.stem[6].out_channels
        found = state[last].shape[0] if last in state else 0
        if whole in state and found != channels:
            raise ImBenchError(
                f"the weights of the backbone are for a stem of {found or 'no such'} channels, "
                f"not {channels}: set backbone.stem_channels (64 for open-mmlab://resnet50_v1c), "
                "or give other weights"
            )
        super()._load_from_state_dict(state, prefix, *rest)


def _block_dilations(dilation: int, multi_grid: Sequence[int] | None) -> list[int] | None:
    """Return the dilation of each block of the last stage, which MMSegmentation's option means."""
    if multi_grid is None:
        return None
    first, *others = multi_grid
    return [max(1, dilation // 2) * first, *(dilation * factor for factor in others)]


def _rename_stem(state: dict[str, Tensor], prefix: str) -> None:
    """Give the stem's weights in a state MMSegmentation's names."""
    names = _NESTED if f"{prefix}conv1.0.weight" in state else _NUMBERED
    for name in list(state):
        layer, _, kind = name.removeprefix(prefix).rpartition(".")
        if layer in names:
            state[f"{prefix}{names[layer]}.{kind}"] = state.pop(name)
