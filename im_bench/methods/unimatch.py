"""UniMatch: one weak view teaches two strong views and a perturbation of its own features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from pydantic import Field, NonNegativeFloat

from im_bench.lazy import lazy_module
from im_bench.methods.fixmatch import FixMatch, unlabelled_loss
from im_bench.methods.ranges import Range

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from im_bench.semi import losses
    from im_bench.semi.pseudo_label import PseudoLabel
    from im_bench.semi.step import Step, View
else:
    torch = lazy_module("torch")
    losses = lazy_module("im_bench.semi.losses")

_Maps = TypeVar("_Maps", "View", "PseudoLabel")


class Targets(NamedTuple):
    """What unlabelled images teach in one step.

    Attributes:
        label: Of the weak view.
        partner: Of the view that is pasted.
        threshold: Confidence from which a pixel teaches, a number or a scalar tensor.
    """

    label: PseudoLabel
    partner: PseudoLabel
    threshold: float | Tensor


class UniMatch(FixMatch):
    """FixMatch with a second strong view and with perturbed features of the weak view.

    Attributes:
        strong_weight: Factor of each strong view's loss (original: 0.25).
        feature_weight: Factor of the loss on perturbed features (original: 0.5).
        feature_drop: Share of the feature channels that the perturbation drops.
    """

    title: ClassVar[str] = "UniMatch"
    source: ClassVar[str] = (
        "Yang et al., Revisiting Weak-to-Strong Consistency, CVPR 2023; LiheYoung/UniMatch, "
        "unimatch.py"
    )
    search: ClassVar = {**FixMatch.search, "feature_drop": Range(0.1, 0.9)}

    strong_weight: NonNegativeFloat = 0.25
    feature_weight: NonNegativeFloat = 0.5
    feature_drop: float = Field(0.5, ge=0, lt=1)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the labelled loss, and those of the strong views and of perturbed features."""
        return self.of_streams(step, self.streams(step))

    def streams(self, step: Step) -> Streams:
        """Pass the partners, the labelled and weak images, and the strong views, in this order."""
        weak, partner = (twice(each) for each in (step.unlabelled, step.partner))
        box = self.boxes(step, weak)
        strong = self.strong_view(step, weak, partner, box)
        partner_logits = step.student.predict(step.normalise(step.partner.images))
        logits, auxiliary, weak_logits, perturbed = self.perturbed_joint(step)
        label, partner_label, threshold = self.targets(step, logits, weak_logits, partner_logits)
        mixed = twice(label).pasted(twice(partner_label), box)
        strong_logits = step.student(step.normalise(strong))
        return Streams(logits, auxiliary, perturbed, label, strong_logits, mixed, box, threshold)

    def of_streams(self, step: Step, streams: Streams) -> dict[str, Tensor]:
        """Return the losses of what the network says."""
        label, threshold = streams.label, streams.threshold
        strong = zip(streams.strong.chunk(2), halves(streams.mixed), strict=True)
        step.log("confident", losses.share(label.confidence >= threshold, label.valid))
        return self.weighted(
            step.labelled_loss(streams.labelled, streams.auxiliary),
            [unlabelled_loss(step.space, *each, threshold) for each in strong],
            unlabelled_loss(step.space, streams.perturbed, label, threshold),
        )

    def targets(self, step: Step, labelled: Tensor, weak: Tensor, partner: Tensor) -> Targets:
        """Return what the student's own predictions teach.

        Args:
            step: The step.
            labelled: Logits of the labelled images, (B, C, H, W).
            weak: Of the weak view, in training mode.
            partner: Of the view that is pasted, in evaluation mode.
        """
        label, partner_label = (
            step.pseudo_label(step.space.activate(logits), view)
            for logits, view in ((weak, step.unlabelled), (partner, step.partner))
        )
        return Targets(label, partner_label, self.threshold)

    def perturbed_joint(self, step: Step) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
        """Decode labelled and weak images together, with a copy of which features are perturbed.

        BatchNorm of the decoder sees all of them; the labelled images' perturbed logits serve for
        that only.

        Returns:
            Logits of the labelled images and of the auxiliary heads, and logits of the weak view
            without and with the perturbation.
        """
        images = torch.cat([step.labelled, step.normalise(step.unlabelled.images)])
        count, size = len(step.labelled), images.shape[-2:]
        features = step.student.encode(images)
        perturbed = step.student.perturb(features, self.feature_drop)
        both = tuple(torch.cat(pair) for pair in zip(features, perturbed, strict=True))
        clean, dropped = step.student.decode(both, size).chunk(2)
        auxiliary = step.student.auxiliary(tuple(each[:count] for each in features), size)
        return clean[:count], auxiliary, clean[count:], dropped[count:]

    def weighted(
        self, labelled: Tensor, strong: Sequence[Tensor], feature: Tensor
    ) -> dict[str, Tensor]:
        """Return what is summed: each loss with its weight, the whole halved.

        Args:
            labelled: Loss on labelled images.
            strong: Losses on the two strong views.
            feature: Loss on perturbed features.
        """
        unlabelled = 0.5 * self.unlabelled_weight
        return {
            "labelled.loss": 0.5 * labelled,
            "strong.loss": unlabelled * self.strong_weight * torch.stack(tuple(strong)).sum(),
            "feature.loss": unlabelled * self.feature_weight * feature,
        }


class Streams(NamedTuple):
    """What the network says of B unlabelled images and their 2 B strong views, and learns there.

    Attributes:
        labelled: Logits of the labelled images.
        auxiliary: Those of the auxiliary heads.
        perturbed: Logits of the weak views with perturbed features, (B, C, H, W).
        label: Pseudo-labels of the weak views.
        strong: Logits of the strong views, (2 B, C, H, W).
        mixed: Their pseudo-labels.
        box: Where partners are pasted into them, bool (2 B, H, W).
        threshold: Confidence from which a pixel teaches, a number or a scalar tensor.
    """

    labelled: Tensor
    auxiliary: Sequence[Tensor]
    perturbed: Tensor
    label: PseudoLabel
    strong: Tensor
    mixed: PseudoLabel
    box: Tensor
    threshold: float | Tensor


def twice(maps: _Maps) -> _Maps:
    """Return the batch of a view or of pseudo-labels, followed by itself."""
    return repeat(maps, 2)


def repeat(maps: _Maps, times: int) -> _Maps:
    """Return the batch of a view or of pseudo-labels several times, one after another."""
    repeated: list[Any] = [None if each is None else torch.cat([each] * times) for each in maps]
    return type(maps)(*repeated)


def halves(label: PseudoLabel) -> list[PseudoLabel]:
    """Return the first and the second half of a batch of pseudo-labels."""
    return [type(label)(*parts) for parts in zip(*(each.chunk(2) for each in label), strict=True)]
