"""FixMatch: a confident prediction on the weak view teaches the CutMixed strong view."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from im_bench.lazy import lazy_module
from im_bench.methods.online import OnlineMethod
from im_bench.methods.ranges import Range

if TYPE_CHECKING:
    from torch import Tensor

    from im_bench.data.label_spaces import LabelSpace
    from im_bench.semi import boxes, losses, pseudo_label, strong_views
    from im_bench.semi.pseudo_label import PseudoLabel
    from im_bench.semi.step import Step, View
else:
    boxes = lazy_module("im_bench.semi.boxes")
    losses = lazy_module("im_bench.semi.losses")
    pseudo_label = lazy_module("im_bench.semi.pseudo_label")
    strong_views = lazy_module("im_bench.semi.strong_views")


class FixMatch(OnlineMethod):
    """FixMatch for segmentation, as UniMatch's repository has it.

    The student itself is the teacher: in training mode for the images, in evaluation mode for the
    partners that CutMix pastes.

    Attributes:
        threshold: Confidence from which a pixel teaches (original: 0.95; Cityscapes: 0).
        unlabelled_weight: Factor of the unlabelled loss, beside a labelled loss of weight 1; the
            sum of both is halved.
        cutmix: Probability that a box is pasted into a strong view.
        partner: What is pasted. In the original two loaders with one seed give the ``same``
            photograph, cropped anew.
    """

    title: ClassVar[str] = "FixMatch"
    source: ClassVar[str] = (
        "Sohn et al., FixMatch, NeurIPS 2020; for segmentation: LiheYoung/UniMatch, fixmatch.py"
    )
    search: ClassVar = {"threshold": Range(0.0, 0.99), "unlabelled_weight": Range(0.25, 4, True)}
    label_search: ClassVar = {"threshold": Range(0.0, 0.99)}

    threshold: float = Field(0.95, ge=0, le=1)
    unlabelled_weight: NonNegativeFloat = 1.0
    cutmix: float = Field(0.5, ge=0, le=1)
    partner: Literal["same", "other"] = "same"

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the labelled and the unlabelled loss of one step."""
        weak, partner = step.unlabelled, step.partner
        box = self.boxes(step, weak)
        strong = self.strong_view(step, weak, partner, box)
        partner_label = self.partner_label(step, partner)
        logits, auxiliary, weak_logits = step.joint(step.normalise(weak.images))
        label = step.pseudo_label(step.space.activate(weak_logits), weak)
        mixed = label.pasted(partner_label, box)
        strong_logits = step.student(step.normalise(strong))
        step.log("confident", losses.share(label.confidence >= self.threshold, label.valid))
        return {
            "labelled.loss": 0.5 * step.labelled_loss(logits, auxiliary),
            "unlabelled.loss": 0.5
            * self.unlabelled_weight
            * unlabelled_loss(step.space, strong_logits, mixed, self.threshold),
        }

    def boxes(self, step: Step, weak: View) -> Tensor:
        """Draw where the partner is pasted, bool (B, H, W)."""
        count, _, height, width = weak.images.shape
        return boxes.cutmix_boxes(count, height, width, step.generator, self.cutmix)

    def strong_view(self, step: Step, weak: View, partner: View, box: Tensor) -> Tensor:
        """Return the strong view in 0..1, with that of the partner pasted."""
        own, other = (
            step.blank(step.strong(each.images, strong_views.StrongView()), each)
            for each in (weak, partner)
        )
        return pseudo_label.paste(own, other, box)

    def partner_label(self, step: Step, partner: View) -> PseudoLabel:
        """Label the partners with the student in evaluation mode."""
        logits = step.student.predict(step.normalise(partner.images))
        return step.pseudo_label(step.space.activate(logits), partner)


def unlabelled_loss(
    space: LabelSpace, logits: Tensor, label: PseudoLabel, threshold: float | Tensor
) -> Tensor:
    """Return the mean loss over the valid pixels, to which only confident ones add.

    Args:
        space: What labels mean.
        logits: The student's on the strong view, (B, C, H, W).
        label: Of the same images.
        threshold: Confidence from which a pixel teaches.

    Source: LiheYoung/UniMatch, fixmatch.py and unimatch.py: the denominator counts pixels that are
    not confident, too.
    """
    teaching = losses.confident(label, threshold)
    return losses.masked_mean(space.pixel_loss(logits, label.label), teaching, label.valid)
