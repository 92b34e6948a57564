"""Mean Teacher: the student's average teaches it to predict the same on another view."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat

from im_bench.methods.online import OnlineMethod
from im_bench.methods.ranges import Range

if TYPE_CHECKING:  # at run time PyTorch is needed inside the functions only: planning stays instant
    from torch import Tensor

    from im_bench.semi.step import Clock, Step


class MeanTeacher(OnlineMethod):
    """Consistency between the student on a strong view and its average on the weak view.

    Attributes:
        decay: Of the average, reached after ``1 / (1 - decay)`` steps.
        consistency: Weight of the consistency at the end of its ramp.
        ramp: Share of the training over which that weight grows.
    """

    title: ClassVar[str] = "Mean Teacher"
    source: ClassVar[str] = "Tarvainen and Valpola, Mean teachers, NeurIPS 2017"
    search: ClassVar = {"consistency": Range(0.1, 10, log=True), "decay": Range(0.9, 0.999)}

    companion: ClassVar = "ema"
    deployed: ClassVar = "companion"

    decay: float = Field(0.99, ge=0, lt=1)
    consistency: NonNegativeFloat = 1.0
    ramp: float = Field(0.2, gt=0, le=1)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the labelled loss and the consistency."""
        from im_bench.semi.losses import masked_mean
        from im_bench.semi.strong_views import StrongView

        weak = step.unlabelled
        teacher = step.space.activate(step.companion.predict(step.normalise(weak.images)))
        label = step.pseudo_label(teacher, weak)  # here Inconsistency Masks act, if there are any
        strong = step.blank(step.strong(weak.images, StrongView()), weak)
        logits, auxiliary, unlabelled = step.joint(step.normalise(strong))
        gap = (step.space.activate(unlabelled) - teacher).square().mean(1)
        weight = self.consistency * min(
            1.0, step.clock.iteration / (self.ramp * step.clock.iterations)
        )
        return {
            "labelled.loss": step.labelled_loss(logits, auxiliary),
            "consistency.loss": weight * masked_mean(gap, label.kept, label.valid),
        }

    def ema_decay(self, clock: Clock) -> float:
        """Return the decay of the average after a step: small at first, lest it lags."""
        return min(self.decay, 1 - 1 / (clock.iteration + 1))
