"""The shared losses as MMSegmentation's configs name them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from im_bench.data.label_spaces import IGNORED
from im_bench.errors import ImBenchError
from im_bench.semi.losses import ohem


@MODELS.register_module()
class OhemCrossEntropyLoss(nn.Module):
    """Cross-entropy of the hard pixels, as semi-supervised methods use it on labelled images.

    Usable as ``loss_decode`` of every decode head with a softmax. The threshold follows
    :func:`~im_bench.semi.losses.hard_pixels`, which MMSegmentation's own ``OHEMPixelSampler`` does
    not.

    Args:
        threshold: Probability of the true class up to which a pixel is hard.
        min_kept: At least so many pixels of a batch are hard.
        class_weight: One number per class, or None.
        loss_weight: Factor of the loss.
        loss_name: Under which a decode head logs it; ``loss_`` adds it to the total.

    Raises:
        ImBenchError: A number is out of its range.
    """

    class_weight: Tensor | None

    def __init__(
        self,
        threshold: float = 0.7,
        min_kept: int = 200_000,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = "loss_ohem",
    ) -> None:
        super().__init__()
        if not 0 <= threshold <= 1 or min_kept < 0:
            raise ImBenchError(
                f"OhemCrossEntropyLoss has threshold={threshold} and min_kept={min_kept}: give a "
                "probability in 0..1, and a number of pixels that is not negative"
            )
        self.threshold = threshold
        self.min_kept = min_kept
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        weight = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        self.register_buffer("class_weight", weight, persistent=False)

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = IGNORED,
        **kwargs: Any,
    ) -> Tensor:
        """Return the loss, a float32 scalar; 0 where every pixel is ignored.

        Args:
            logits: (B, K, H, W).
            labels: Class indices (B, H, W).
            weight: Pixels of weight 0 are ignored (B, H, W); what a pixel sampler of MMSegmentation
                gives.
            ignore_index: The class index of ignored pixels.
            kwargs: What MMSegmentation gives other losses; not used.

        Raises:
            ImBenchError: ``logits`` are of one channel, which is no softmax.
        """
        if logits.shape[1] < 2:
            raise ImBenchError(
                "OhemCrossEntropyLoss needs the logits of a softmax over at least 2 classes, not "
                "one channel: use another labelled loss for binary labels"
            )
        ignored = labels == ignore_index
        if weight is not None:
            ignored = ignored | (weight == 0)
        labels = labels.masked_fill(ignored, IGNORED)
        return self.loss_weight * ohem(
            logits, labels, self.threshold, self.min_kept, self.class_weight
        )
