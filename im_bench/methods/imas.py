"""iMAS: how far student and teacher agree on an image decides how it is augmented and weighed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from im_bench.lazy import lazy_module
from im_bench.methods.online import OnlineMethod
from im_bench.methods.ranges import Range

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from im_bench.data.label_spaces import LabelSpace
    from im_bench.semi import boxes, hardness, losses, pseudo_label, random_ops
    from im_bench.semi.pseudo_label import PseudoLabel
    from im_bench.semi.step import Clock, Step
else:
    torch = lazy_module("torch")
    boxes = lazy_module("im_bench.semi.boxes")
    hardness = lazy_module("im_bench.semi.hardness")
    losses = lazy_module("im_bench.semi.losses")
    pseudo_label = lazy_module("im_bench.semi.pseudo_label")
    random_ops = lazy_module("im_bench.semi.random_ops")

Probability = Annotated[float, Field(ge=0, le=1)]


class IMAS(OnlineMethod):
    """Instance-specific and model-adaptive supervision (iMAS).

    An average of the student labels the weak view. Where student and teacher agree, an image counts
    as easy ("hardness", of which a larger value is easier): its strong view is stronger, its loss
    weighs more, and CutMix is likelier. In binary and multi-label spaces the hardness is the mean
    over the sigmoids, each a softmax over two classes.

    Inconsistency Masks act after the hardness is computed, which therefore is the same with them.

    Attributes:
        threshold: Confidence from which a pixel teaches, and counts as confident in the hardness
            (original: 0.7 on Cityscapes, 0.75 to 0.95 on Pascal).
        unlabelled_weight: Factor of the unlabelled loss (original: 3, some runs on Pascal 1).
        weigh_images: Whether an image's loss is multiplied by its hardness. Easy images so count
            more; the paper's words suggest the reverse.
        weighted_iou: Whether the hardness weighs classes by their share of the image.
        ignore_background: Whether class 0 has no weight in the hardness, as in the original even on
            Cityscapes, where it is the road. An image of nothing else has hardness 0.
        normalised_hardness: Whether the shares of confident pixels are scaled to add up to 1 in the
            hardness. The original has this second version, but does not use it.
        blend: How weak and strong view make the one that is learnt from: ``mix``, with the hardness
            as the share of the strong one; ``choose``, with it as the probability of the strong
            one; or ``strong``.
        operations: Operations of the strong view.
        strong_beside_cutmix: Whether the strong view teaches beside CutMix's; otherwise only where
            CutMix was not drawn.
        cutmix: Probability that a batch has a CutMix view as well; None: its mean hardness.
        cutmix_partner: Whether an easy image gets a box of a hard one and vice versa, or images are
            paired at random.
        cutmix_side: Range of the box's side as a share of the image's.
        skip_undrawn: Whether no CutMix view passes through the student where it was not drawn, as
            in the original, which waits for the device in every step. Otherwise it always passes,
            with weight 0 in the loss, so that BatchNorm sees it.
        ema: Decay of the teacher, reached from below.
        supervised_epochs: Epochs on labelled images alone, first.
        copy_first_epoch: Whether the teacher equals the student in the whole first epoch with
            unlabelled images, as in the original.
        ignore_padding: Whether the padding of crops teaches nothing. In the original it does, with
            pseudo-labels.
    """

    title: ClassVar[str] = "iMAS"
    source: ClassVar[str] = (
        "Zhao et al., Instance-Specific and Model-Adaptive Supervision for Semi-Supervised "
        "Semantic Segmentation, CVPR 2023; ZhenZHAO/iMAS"
    )
    search: ClassVar = {
        "threshold": Range(0.5, 0.99),
        "unlabelled_weight": Range(0.3, 6, log=True),
        "ema": Range(0.9, 0.999),
    }
    label_search: ClassVar = {"threshold": Range(0.5, 0.99)}
    companion: ClassVar = "ema"
    deployed: ClassVar = "companion"

    threshold: Probability = 0.7
    unlabelled_weight: NonNegativeFloat = 3.0
    weigh_images: bool = True
    weighted_iou: bool = True
    ignore_background: bool = True
    normalised_hardness: bool = False
    blend: Literal["mix", "choose", "strong"] = "mix"
    operations: PositiveInt = 2
    strong_beside_cutmix: bool = True
    cutmix: Probability | None = None
    cutmix_partner: Literal["hardness", "random"] = "hardness"
    cutmix_side: tuple[Probability, Probability] = (0.1, 0.9)
    skip_undrawn: bool = False
    ema: Probability = 0.996
    supervised_epochs: NonNegativeInt = 0
    copy_first_epoch: bool = True
    ignore_padding: bool = False

    def ema_decay(self, clock: Clock) -> float:
        """Return 0 while the teacher equals the student, then a decay that rises to ``ema``."""
        if clock.epoch < self.supervised_epochs + self.copy_first_epoch:
            return 0.0
        since = clock.iteration - self.supervised_epochs * clock.epoch_length
        return min(1 - 1 / (since + 1), self.ema)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the labelled and the unlabelled loss of one step."""
        if step.clock.epoch < self.supervised_epochs:
            return {"labelled.loss": step.labelled_alone()}
        weak = step.normalise(step.unlabelled.images)
        label, ease = self.targets(step, weak)
        taught = [(self.strong_view(step, ease), label)]
        drawn = self.draw_cutmix(step, ease)
        if drawn is not None:
            taught.append(self.cutmix_view(step, label, ease))
        # The weak view teaches nobody, but BatchNorm sees it.
        images = [weak, *(step.normalise(view) for view, _ in taught)]
        logits, auxiliary, others = step.joint(torch.cat(images))
        weight = ease if self.weigh_images else None
        unlabelled = [
            unlabelled_loss(step.space, each, target, self.threshold, weight)
            for each, (_, target) in zip(others.chunk(len(images))[1:], taught, strict=True)
        ]
        total = unlabelled[0]
        if drawn is not None:
            total = combined(total, unlabelled[1], drawn, self.strong_beside_cutmix)
        step.log("hardness", ease.mean())
        step.log("confident", losses.share(label.confidence >= self.threshold, label.valid))
        return {
            "labelled.loss": step.labelled_loss(logits, auxiliary),
            "unlabelled.loss": self.unlabelled_weight * total,
        }

    def targets(self, step: Step, weak: Tensor) -> tuple[PseudoLabel, Tensor]:
        """Return the teacher's pseudo-labels, and the hardness (B,) of the images.

        Args:
            step: The step.
            weak: Its weak view, normalised.
        """
        space = step.space
        teacher = step.companion.predict(weak)
        student = step.student.predict(weak)
        label = step.pseudo_label(space.activate(teacher), step.unlabelled)
        if self.ignore_padding:
            label = label._replace(kept=label.kept & label.valid)
        ease = hardness.hardness(
            space.categorical(student),
            space.categorical(teacher),
            self.threshold,
            self.weighted_iou,
            self.ignore_background,
            self.normalised_hardness,
        )
        return label, ease.view(-1, space.groups).mean(dim=1)

    def strong_view(self, step: Step, ease: Tensor) -> Tensor:
        """Return the view in 0..1 that blends weak and strong colours."""
        view, generator = step.unlabelled, step.generator
        strong = random_ops.random_ops(view.images, generator, self.operations)
        if self.blend == "mix":
            strong = hardness.blend(view.images, strong, ease)
        elif self.blend == "choose":
            chosen = torch.rand(ease.shape, generator=generator, device=ease.device) < ease
            strong = hardness.blend(view.images, strong, chosen)
        return step.blank(strong, view)

    def draw_cutmix(self, step: Step, ease: Tensor) -> Tensor | None:
        """Draw whether CutMix teaches, a scalar bool tensor, or None if its view is not needed."""
        if self.cutmix == 0:
            return None
        probability = ease.mean() if self.cutmix is None else self.cutmix
        drawn = torch.rand((), generator=step.generator, device=ease.device) < probability
        return None if self.skip_undrawn and not drawn else drawn

    def cutmix_view(
        self, step: Step, label: PseudoLabel, ease: Tensor
    ) -> tuple[Tensor, PseudoLabel]:
        """Return weak views in 0..1 with boxes of each other, and their labels."""
        weak, generator = step.unlabelled, step.generator
        images = step.blank(weak.images, weak)
        if self.cutmix_partner == "hardness":
            partner = hardness.partner_by_hardness(ease)
        else:
            partner = torch.rand(ease.shape, generator=generator, device=ease.device).argsort()
        side = boxes.side_fraction(generator, *self.cutmix_side)
        height, width = images.shape[-2:]
        box = boxes.imas_boxes(len(images), height, width, side, generator)
        mixed = pseudo_label.paste(images, images[partner], box)
        return mixed, label.pasted(label.take(partner), box)


def unlabelled_loss(
    space: LabelSpace,
    logits: Tensor,
    label: PseudoLabel,
    threshold: float,
    weight: Tensor | None = None,
) -> Tensor:
    """Return the mean loss over all pixels, to which only confident ones add, a scalar.

    Args:
        space: What labels mean.
        logits: The student's, (B, C, H, W).
        label: Of the same images.
        threshold: Confidence from which a pixel teaches.
        weight: Factor of each image, (B,), or None: 1.

    Source: ZhenZHAO/iMAS, imas/utils/loss_helper.py, compute_unsupervised_loss_by_threshold.
    """
    teaching = losses.confident(label, threshold)
    image_loss = space.pixel_loss(logits, label.label).where(teaching, 0.0).mean((1, 2))
    return (image_loss if weight is None else image_loss * weight).mean()


def combined(strong: Tensor, cutmix: Tensor, drawn: Tensor, both: bool = True) -> Tensor:
    """Return the unlabelled loss of both views.

    Args:
        strong: Loss on the strong view, a scalar; alone the result if CutMix was not drawn.
        cutmix: Loss on the CutMix view, a scalar.
        drawn: Whether CutMix was drawn, a scalar bool tensor.
        both: Whether the result is the mean of both if so, and not CutMix's loss alone.

    Source: ZhenZHAO/iMAS, train_semi.py.
    """
    return torch.where(drawn, (strong + cutmix) / 2 if both else cutmix, strong)
