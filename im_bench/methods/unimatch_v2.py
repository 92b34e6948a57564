"""UniMatch V2: an average of the student teaches two strong views that share out the channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from im_bench.lazy import lazy_module
from im_bench.methods.fixmatch import unlabelled_loss
from im_bench.methods.online import OnlineMethod
from im_bench.methods.ranges import Range
from im_bench.methods.unimatch import halves, repeat

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from im_bench.semi import boxes, channel_dropout, losses, pseudo_label, strong_views
    from im_bench.semi.pseudo_label import PseudoLabel
    from im_bench.semi.step import Clock, Step, View
else:
    torch = lazy_module("torch")
    boxes = lazy_module("im_bench.semi.boxes")
    channel_dropout = lazy_module("im_bench.semi.channel_dropout")
    losses = lazy_module("im_bench.semi.losses")
    pseudo_label = lazy_module("im_bench.semi.pseudo_label")
    strong_views = lazy_module("im_bench.semi.strong_views")


class UniMatchV2(OnlineMethod):
    """UniMatch V2: image and feature perturbations in the same two strong views.

    The teacher, an average of the student, labels the weak view. Each strong view has other colours
    and a CutMix box of the image at the mirrored place in the batch; of the features each view
    keeps the channels that the other one loses. The original's networks are vision transformers
    without BatchNorm; others work as well.

    Attributes:
        threshold: Confidence from which a pixel teaches (original: 0.95, also on Cityscapes).
        unlabelled_weight: Factor of the unlabelled loss, the mean of the two views', beside a
            labelled loss of weight 1; the sum of both is halved.
        cutmix: Probability that a box is pasted into a strong view. A batch of one image has no
            other one to paste, and in an odd one the middle image is its own partner.
        undropped: Share of the images of a batch, rounded down, whose features stay whole; 1
            switches the dropout off.
        ema: Decay of the teacher, reached from below.
        partner: None: boxes come from the batch itself.
    """

    title: ClassVar[str] = "UniMatch V2"
    source: ClassVar[str] = (
        "Yang et al., UniMatch V2: Pushing the Limit of Semi-Supervised Semantic Segmentation, "
        "TPAMI 2025; LiheYoung/UniMatch-V2, unimatch_v2.py"
    )
    search: ClassVar = {
        "threshold": Range(0.0, 0.99),
        "unlabelled_weight": Range(0.25, 4, log=True),
        "undropped": Range(0, 1),
        "ema": Range(0.9, 0.9999),
    }
    label_search: ClassVar = {"threshold": Range(0.0, 0.99)}
    companion: ClassVar = "ema"
    deployed: ClassVar = "companion"

    threshold: float = Field(0.95, ge=0, le=1)
    unlabelled_weight: NonNegativeFloat = 1.0
    cutmix: float = Field(0.5, ge=0, le=1)
    undropped: float = Field(0.5, ge=0, le=1)
    ema: float = Field(0.996, ge=0, le=1)
    partner: Literal["none"] = "none"

    def ema_decay(self, clock: Clock) -> float:
        """Return the decay after a step: 0 after the first, then rising to ``ema``."""
        return min(1 - 1 / (clock.iteration + 1), self.ema)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the labelled loss and that of the two strong views."""
        weak = step.unlabelled
        logits = step.companion.predict(step.normalise(weak.images))
        label = step.pseudo_label(step.space.activate(logits), weak)
        step.log("confident", losses.share(label.confidence >= self.threshold, label.valid))
        labelled = step.labelled_alone()
        strong, (mixed,) = mixed_views(step, weak, [label], 2, self.cutmix)
        features = step.student.encode(step.normalise(strong))
        shared = channel_dropout.complementary_dropout(features, step.generator, self.undropped)
        strong_logits = step.student.decode(shared, strong.shape[-2:]).chunk(2)
        return self.weighted(
            labelled,
            [
                unlabelled_loss(step.space, each, view_label, self.threshold)
                for each, view_label in zip(strong_logits, halves(mixed), strict=True)
            ],
        )

    def weighted(self, labelled: Tensor, strong: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return what is summed: the labelled loss and the mean of the views', both halved."""
        return {
            "labelled.loss": 0.5 * labelled,
            "strong.loss": 0.5 * self.unlabelled_weight * torch.stack(tuple(strong)).mean(),
        }


def mixed_views(
    step: Step, weak: View, labels: Sequence[PseudoLabel], views: int, probability: float
) -> tuple[Tensor, list[PseudoLabel]]:
    """Return strong views in 0..1 with CutMix done, and what they are taught.

    Args:
        step: The step.
        weak: The weak view of B images.
        labels: Pseudo-labels of it; several, if there are several teachers.
        views: How many strong views each image has: V.
        probability: That a box of the partner is pasted into one.

    Returns:
        Images (V * B, C, H, W), one view after another, and the labels for all of them.
    """
    repeated = repeat(weak, views)
    strong = step.blank(step.strong(repeated.images, strong_views.StrongView()), repeated)
    count, _, height, width = strong.shape
    box = boxes.cutmix_boxes(count, height, width, step.generator, probability)
    mirrored = mirrored_places(count, views, box.device)
    images = pseudo_label.paste(strong, strong.index_select(0, mirrored), box)
    taught = [repeat(label, views) for label in labels]
    return images, [label.pasted(label.take(mirrored), box) for label in taught]


def mirrored_places(count: int, views: int, device: torch.device) -> Tensor:
    """Return for each of ``count`` images, in views one after another, the partner's place.

    It is in the same view, as far from its end as the image is from its beginning; int64 (count,).
    """
    return torch.arange(count, device=device).view(views, -1).flip(1).flatten()
