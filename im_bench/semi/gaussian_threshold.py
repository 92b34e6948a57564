"""A confidence threshold between what a network gets right and what it gets wrong."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

MIN_PIXELS = 10
"""From how many pixels of a batch the mean and variance of their confidences count."""


class GaussianThreshold(nn.Module):
    """The confidence at which right predictions become likelier than wrong ones.

    Two Gaussians are fitted to the confidences of labelled pixels: of those predicted correctly,
    and of those predicted wrongly. Their means and variances are moving averages, which all
    processes of a training share; the threshold is where the two densities cross.

    Args:
        labels: How many labels a pixel can have; no confidence is below 1 / ``labels``.
        start: The threshold until the densities cross for the first time, in 0..1.
        momentum: Weight of the means and variances so far, in 0..1.
        alpha: Weight of the wrong pixels' density; a larger one raises the threshold.

    Attributes:
        value: The threshold, a float32 scalar.
        mean: Of correct and of wrong pixels, float32 (2,), at first 1 / ``labels``.
        variance: Of the same, float32 (2,), at first 0.5.

    Source: yuisuen/DAW, daw.py, ``update_prob_t``.
    """

    value: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(
        self, labels: int, start: float = 0.95, momentum: float = 0.99, alpha: float = 1.0
    ) -> None:
        super().__init__()
        self.lowest = 1 / labels
        self.momentum = momentum
        self.alpha = alpha
        self.register_buffer("value", torch.tensor(start, dtype=torch.float32))
        self.register_buffer("mean", torch.full((2,), self.lowest))
        self.register_buffer("variance", torch.full((2,), 0.5))

    @torch.no_grad()
    def forward(self, confidence: Tensor, correct: Tensor, valid: Tensor) -> Tensor:
        """Take labelled pixels into account, and return the threshold.

        Args:
            confidence: Probability of the predicted label, float32 (B, H, W).
            correct: Where that label is the true one, bool (B, H, W).
            valid: Which pixels count, bool (B, H, W). Of fewer than ``MIN_PIXELS`` correct or wrong
                ones, mean and variance stay as they are.
        """
        kinds = torch.stack([correct & valid, ~correct & valid]).flatten(1)
        count = kinds.sum(dim=1)
        enough = count >= MIN_PIXELS
        # In double precision: at first the variances are almost equal, and the crossing depends on
        # their last digits.
        flat = confidence.flatten().double()
        mean = (flat.where(kinds, 0.0).sum(dim=1) / count.clamp(min=1)).float()
        mean = mean.where(enough, self.mean)
        all_reduce(mean, "mean")
        deviation = (flat - mean.unsqueeze(1)).square().where(kinds, 0.0)
        variance = (deviation.sum(dim=1) / (count - 1).clamp(min=1)).float()
        variance = variance.where(enough, self.variance)
        all_reduce(variance, "mean")
        for average, new in ((self.mean, mean), (self.variance, variance)):
            average.copy_(self.momentum * average + (1 - self.momentum) * new)
        crossing, exists = densities_cross(self.mean, self.variance, self.alpha)
        self.value.copy_(crossing.clamp(self.lowest, 1).where(exists, self.value))
        return self.value


def densities_cross(
    mean: Tensor, variance: Tensor, alpha: float | Tensor = 1.0
) -> tuple[Tensor, Tensor]:
    """Return where two Gaussian densities cross between their means.

    Args:
        mean: Of the first and of the second one, float32 (2, ...).
        variance: Of the same.
        alpha: Weight of the second density.

    Returns:
        The crossing, float32 (...), and whether there is one, bool (...). Of exactly equal
        variances the formula makes 0, or far more than 1, instead of the middle; so does the
        original, whose small constants only keep it from dividing by 0.

    Source: yuisuen/DAW, daw.py, ``update_prob_t``.
    """
    (mean_1, mean_2), (deviation_1, deviation_2) = mean, variance.sqrt()
    # Squares of roots, as in the original: with variances almost equal, rounding is all of `a`.
    a = deviation_1**2 - deviation_2**2
    b = 2 * (mean_1 * deviation_2**2 - mean_2 * deviation_1**2)
    ratio = (deviation_2 / (alpha * deviation_1) + 1e-8).log()
    c = (mean_2 * deviation_1) ** 2 - (mean_1 * deviation_2) ** 2
    c = c + 2 * (deviation_1 * deviation_2) ** 2 * ratio
    discriminant = b**2 - 4 * a * c
    # Of the two roots this one lies between the means, whichever variance is the larger one.
    crossing = (discriminant.clamp(min=0).sqrt() - b) / (2 * a + 1e-10)
    return crossing, discriminant > 0
