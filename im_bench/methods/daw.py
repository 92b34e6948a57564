"""DAW: UniMatch whose threshold and pseudo-labels follow what labelled pixels say."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from pydantic import Field

from im_bench.lazy import lazy_module
from im_bench.methods.ranges import Range
from im_bench.methods.unimatch import Targets, UniMatch

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from im_bench.data.label_spaces import LabelSpace
    from im_bench.semi import alignment, gaussian_threshold
    from im_bench.semi.alignment import ConfidenceAlignment
    from im_bench.semi.step import Clock, Step
else:
    torch = lazy_module("torch")
    alignment = lazy_module("im_bench.semi.alignment")
    gaussian_threshold = lazy_module("im_bench.semi.gaussian_threshold")


class DAW(UniMatch):
    """UniMatch with a threshold that balances wrong pseudo-labels against discarded right ones.

    In each step the threshold is where two Gaussians cross, which are fitted to the confidences of
    labelled pixels that the student predicts correctly and wrongly; and pseudo-labels are aligned,
    so that the student is as sure of each class as on labelled images. An average of the student is
    validated and tested, and makes no pseudo-labels. (The original scores the student, too, and
    keeps the better one.)

    In binary and multi-label spaces each sigmoid is aligned as a softmax over two classes, and the
    threshold is one for the whole label of a pixel, whose probability the sigmoids' product is.

    Pixels that Inconsistency Masks filter do not count in the alignment's averages over unlabelled
    images; the threshold rests on labelled images alone.

    Attributes:
        threshold: Confidence from which a pixel teaches until the Gaussians cross for the first
            time; then their crossing takes its place (original: 0.95).
        momentum: Weight of all averages so far: of means, variances and confidences per class.
        alpha: Weight of the wrong pixels' Gaussian (original: 1); a larger one raises the
            threshold.
        align: Whether pseudo-labels are aligned, as in the original.
        ema: Decay of the average that is tested, reached from below.
    """

    title: ClassVar[str] = "DAW"
    source: ClassVar[str] = (
        "Sun et al., DAW: Exploring the Better Weighting Function for Semi-supervised Semantic "
        "Segmentation, NeurIPS 2023; yuisuen/DAW, daw.py"
    )
    search: ClassVar = {
        **{name: each for name, each in UniMatch.search.items() if name != "threshold"},
        "momentum": Range(0.9, 0.999),
        "alpha": Range(0.25, 4, log=True),
    }
    label_search: ClassVar = {}  # the threshold moves
    companion: ClassVar = "ema"
    deployed: ClassVar = "companion"

    momentum: float = Field(0.99, ge=0, le=1)
    alpha: float = Field(1.0, gt=0)
    align: bool = True
    ema: float = Field(0.999, ge=0, le=1)

    def ema_decay(self, clock: Clock) -> float:
        """Return a decay that rises from 0 to ``ema``."""
        return min(1 - 1 / (clock.iteration + 1), self.ema)

    def state(self, student: nn.Module, space: LabelSpace) -> dict[str, nn.Module]:
        """Return the running statistics of confidences."""
        groups, classes = space.categorical(torch.zeros(1, space.outputs, 1, 1)).shape[:2]
        return {
            "alignment": alignment.ConfidenceAlignment(groups, classes, self.momentum),
            "crossing": gaussian_threshold.GaussianThreshold(
                space.label_count, self.threshold, self.momentum, self.alpha
            ),
        }

    def targets(self, step: Step, labelled: Tensor, weak: Tensor, partner: Tensor) -> Targets:
        """Update the statistics, and return aligned pseudo-labels and the threshold.

        Args:
            step: The step.
            labelled: Logits of the labelled images, (B, C, H, W).
            weak: Of the weak view, in training mode.
            partner: Of the view that is pasted, in evaluation mode.
        """
        space, views = step.space, (step.unlabelled, step.partner)
        aligned = cast("ConfidenceAlignment", step.state["alignment"])
        truth, *own = (
            space.categorical(each.detach()).softmax(dim=1) for each in (labelled, weak, partner)
        )
        known = space.valid(step.labels)
        if self.align:
            aligned.update(truth, known, own, [each.valid & step.kept(each) for each in views])
            own = [aligned(each) for each in own]
        predicted = space.from_categorical(truth)
        threshold = step.state["crossing"](
            space.confidence(predicted), space.discretise(predicted) == step.labels, known
        )
        step.log("threshold", threshold)
        label, partner_label = (
            step.pseudo_label(space.from_categorical(each), view)
            for each, view in zip(own, views, strict=True)
        )
        return Targets(label, partner_label, threshold)
