"""Distribution alignment: pseudo-labels as sure of each class as labelled images make the network.

All is kept in buffers, so that it is in the checkpoint, and nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn


class ConfidenceAlignment(nn.Module):
    """Moving averages of how sure a network is where it predicts a class, with and without labels.

    They are mean confidences of the pixels predicted as a class, and not the class's frequency.
    Processes of one training share them, so that it resumes exactly; in the original each has its
    own.

    Args:
        groups: G, the number of softmaxes per image; see ``LabelSpace.categorical``.
        classes: K, the classes of each.
        momentum: Weight of the averages so far, in 0..1.

    Attributes:
        labelled: The averages on labelled images, float32 (G, K), at first 1/K.
        unlabelled: Those on unlabelled images.

    Source: yuisuen/DAW, daw.py, ``update_align`` and ``distribution_alignment``.
    """

    labelled: Tensor
    unlabelled: Tensor

    def __init__(self, groups: int, classes: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        for name in ("labelled", "unlabelled"):
            self.register_buffer(name, torch.full((groups, classes), 1 / classes))

    @torch.no_grad()
    def update(
        self,
        labelled: Tensor,
        labelled_valid: Tensor,
        unlabelled: Sequence[Tensor],
        unlabelled_valid: Sequence[Tensor],
    ) -> None:
        """Move the averages towards those of a batch; a class predicted nowhere keeps its own.

        Args:
            labelled: Probabilities on labelled images, float32 (N * G, K, H, W).
            labelled_valid: Which of their pixels count, bool (N, H, W).
            unlabelled: Probabilities on views of unlabelled images, each float32 (M * G, K, H, W).
            unlabelled_valid: Which of their pixels count, each bool (M, H, W).
        """
        self._move(self.labelled, [labelled], [labelled_valid])
        self._move(self.unlabelled, unlabelled, unlabelled_valid)

    @torch.no_grad()
    def forward(self, probabilities: Tensor) -> Tensor:
        """Return aligned probabilities: times labelled / unlabelled average, normalised anew.

        Args:
            probabilities: float32 (N * G, K, H, W).
        """
        ratio = self.labelled / self.unlabelled
        per_image = ratio.repeat(len(probabilities) // len(ratio), 1)
        scaled = probabilities * per_image[..., None, None]
        return scaled / scaled.sum(dim=1, keepdim=True)

    def _move(self, average: Tensor, views: Sequence[Tensor], valid: Sequence[Tensor]) -> None:
        sums = [self._sums(*view) for view in zip(views, valid, strict=True)]
        sums_of_all = torch.stack(sums).sum(dim=0)
        all_reduce(sums_of_all)
        total, count = sums_of_all
        mean = (total / count.clamp(min=1)).view_as(average).to(average.dtype)
        moved = torch.lerp(mean, average, self.momentum)
        average.copy_(moved.where(count.view_as(average) > 0, average))

    def _sums(self, probabilities: Tensor, valid: Tensor) -> Tensor:
        """Return the sum of confidences and the number of pixels by class, (2, G * K)."""
        groups, classes = self.labelled.shape
        confidence, predicted = probabilities.max(dim=1)
        counted = valid.repeat_interleave(groups, dim=0)
        group = torch.arange(len(predicted), device=predicted.device) % groups
        place = (predicted + classes * group.view(-1, 1, 1)).flatten()
        # In double precision, the order in which a GPU adds leaves no trace in float32.
        values = torch.stack([confidence.where(counted, 0.0).double(), counted.double()]).flatten(1)
        return values.new_zeros(2, groups * classes).scatter_add(1, place.expand(2, -1), values)
