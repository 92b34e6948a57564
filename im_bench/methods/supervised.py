"""Supervised: the labelled images only; with Inconsistency Masks, also what teachers agree on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import NonNegativeFloat

from im_bench.lazy import lazy_module
from im_bench.methods.online import OnlineMethod
from im_bench.methods.ranges import Range

if TYPE_CHECKING:
    from torch import Tensor

    from im_bench.semi import losses
    from im_bench.semi.step import Step
else:
    losses = lazy_module("im_bench.semi.losses")


class Supervised(OnlineMethod):
    """The baseline that every semi-supervised method must beat.

    With Inconsistency Masks the student also learns from unlabelled images: what all teachers agree
    on is the label, the rest is blanked and teaches nothing.

    Attributes:
        unlabelled_weight: Factor of the loss on unlabelled images; without masks there is none.
    """

    title: ClassVar[str] = "Supervised only"
    source: ClassVar[str] = "LiheYoung/UniMatch, supervised.py; with masks arXiv 2401.14387"
    needs_unlabelled: ClassVar[bool] = False
    masked_search: ClassVar = {"unlabelled_weight": Range(0.1, 3, True)}

    unlabelled_weight: NonNegativeFloat = 1.0

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the labelled loss, and with masks that on the consensus."""
        view = step.views.get("unlabelled")
        label = None if view is None else step.consensus_label(view)
        if view is None or label is None:
            return {"labelled.loss": step.labelled_alone()}
        blanked = step.normalise(step.blank(view.images, view))
        logits, auxiliary, unlabelled = step.joint(blanked)
        pixel_loss = step.space.pixel_loss(unlabelled, label.label)
        return {
            "labelled.loss": step.labelled_loss(logits, auxiliary),
            "unlabelled.loss": self.unlabelled_weight
            * losses.masked_mean(pixel_loss, label.kept, label.valid),
        }
