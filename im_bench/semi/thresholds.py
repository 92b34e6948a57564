"""A confidence threshold that follows what a network is sure of."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from im_bench.semi.pseudo_label import PseudoLabel

_LABELS = 256


class MovingThreshold(nn.Module):
    """A moving average of how sure a network is where it is surest.

    A batch counts with the mean, over the labels that it predicts anywhere, of the greatest
    confidence among the pixels of that label. Processes of one training share one threshold.

    Args:
        start: The threshold before the first batch, in 0..1.
        momentum: Weight of the threshold so far, in 0..1.

    Attributes:
        value: The threshold, a float32 scalar; kept in checkpoints.

    Source: AiEson/CrossMatch, ``ThreshController``.
    """

    value: Tensor

    def __init__(self, start: float, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.tensor(start, dtype=torch.float32))

    @torch.no_grad()
    def forward(self, label: PseudoLabel) -> Tensor:
        """Move the threshold towards that of a batch, and return it.

        Args:
            label: Pixels that are not valid or not kept do not count; where there is no other, the
                threshold stays.
        """
        confidence = label.confidence.where(label.valid & label.kept, 0.0)
        greatest = confidence.new_zeros(_LABELS).scatter_reduce(
            0, label.label.long().flatten(), confidence.flatten(), "amax"
        )
        all_reduce(greatest, "max")
        present = (greatest > 0).sum()
        moved = torch.lerp(greatest.sum() / present.clamp(min=1), self.value, self.momentum)
        self.value.copy_(moved.where(present > 0, self.value))
        return self.value
