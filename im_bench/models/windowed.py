"""MMSegmentation's encoder-decoder, evaluated as the code bases of published numbers do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor

from im_bench.evaluation.windows import WindowOptions, predict_windows


@MODELS.register_module()
class WindowedEncoderDecoder(EncoderDecoder):
    """An ``EncoderDecoder`` whose images pass through the network by the options of a paper.

    MMSegmentation's own ``test_cfg`` shifts windows inside the image and averages logits, which not
    all originals do; it is not used here.

    Args:
        windows: Fields of :class:`~im_bench.evaluation.windows.WindowOptions`. The mode is
            ``whole`` or ``slide``, since MMSegmentation scores whole images.
        kwargs: As for ``EncoderDecoder``. The network has a softmax.
    """

    def __init__(self, windows: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.windows = WindowOptions(**windows)

    def inference(self, inputs: Tensor, batch_img_metas: list[dict[str, Any]]) -> Tensor:
        """Return probabilities (B, K, H, W) of normalised images (B, C, H, W)."""

        def network(crops: Tensor) -> Tensor:
            logits: Tensor = self.encode_decode(crops, [{"img_shape": crops.shape[-2:]}])
            return logits

        return predict_windows(network, inputs, self.windows, lambda logits: logits.softmax(dim=1))
