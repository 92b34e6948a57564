"""CrossMatch: predictions from unperturbed features teach those from perturbed ones."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeVar

from pydantic import Field, NonNegativeFloat, PositiveFloat
from typing_extensions import NamedTuple

from im_bench.lazy import lazy_module
from im_bench.methods.fixmatch import FixMatch
from im_bench.methods.ranges import Choice, Range
from im_bench.methods.unimatch import twice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch import Tensor, nn

    from im_bench.data.label_spaces import LabelSpace
    from im_bench.semi import losses, thresholds
    from im_bench.semi.network import Features, Network
    from im_bench.semi.pseudo_label import PseudoLabel
    from im_bench.semi.step import Step, View
else:
    torch = lazy_module("torch")
    losses = lazy_module("im_bench.semi.losses")
    thresholds = lazy_module("im_bench.semi.thresholds")

_T = TypeVar("_T")


class Streams(NamedTuple, Generic[_T]):
    """What one batch gives with three perturbations of its features.

    Attributes:
        clean: From the features as they are.
        weak: From features of which few channels are dropped.
        strong: From features of which many channels are dropped.
    """

    clean: _T
    weak: _T
    strong: _T


class Consistency(NamedTuple):
    """The losses on unlabelled images, float32 scalars.

    Attributes:
        strong: Of the two strong views, taught by the weak view's clean labels.
        from_clean: Of the perturbed streams, weak and strong, first of the weak view and then of
            the second strong view, taught by clean labels.
        from_own: Of the second strong view's perturbed streams, weak and strong, each taught by the
            same stream of the weak view.
    """

    strong: tuple[Tensor, Tensor]
    from_clean: tuple[Tensor, Tensor, Tensor, Tensor]
    from_own: tuple[Tensor, Tensor]


class CrossMatch(FixMatch):
    """Self-distillation between perturbations of features, with Dice losses.

    The original segments medical images only: hearts in slices (ACDC, whose settings are the
    defaults) and in volumes (LA: ``kd_weight`` 1, ``smooth`` 1e-5, ``background`` off,
    ``threshold`` 0.75 and ``rising``). There is no public code for natural images: in multi-class
    tasks with many classes, and in binary and multi-label ones, this is an adaptation. Dice is
    taken over each softmax of the label space, and pixels of padding are left out.

    As in the original the student predicts all pseudo-labels in training mode, and BatchNorm's
    statistics follow these passes, too.

    Attributes:
        threshold: Confidence from which a pixel teaches.
        threshold_schedule: ``fixed``; ``rising`` as for LA, see :func:`rising_threshold`; or
            ``adaptive``, a moving average, which the original has but leaves off.
        threshold_ramp: How long the threshold rises, in lengths of the training.
        threshold_momentum: Of the moving average.
        strong_weight: Factor of each strong view's loss.
        kd_weight: Factor of the distillation.
        eta: Share of the distillation in which a stream teaches itself; the rest is taught by clean
            labels.
        weak_drop: Share of the channels that the weak perturbation drops.
        strong_drop: Share of the channels that the strong perturbation drops.
        smooth: Of the Dice losses.
        background: Whether the Dice losses count the first class.
        labelled_dice: Whether the labelled loss is the mean of the usual one and of Dice.
        partner: What is pasted: another photograph.
    """

    title: ClassVar[str] = "CrossMatch"
    source: ClassVar[str] = (
        "Zhao et al., CrossMatch: Enhance Semi-Supervised Medical Image Segmentation with "
        "Perturbation Strategies and Knowledge Distillation, 2024; AiEson/CrossMatch"
    )
    search: ClassVar = {
        **FixMatch.search,
        "eta": Range(0.0, 1.0),
        "kd_weight": Range(0.1, 2, True),
        "strong_drop": Range(0.3, 0.9),
    }

    threshold_schedule: Literal["fixed", "rising", "adaptive"] = "fixed"
    threshold_ramp: PositiveFloat = 17_000 / 14_000
    threshold_momentum: float = Field(0.999 / 4, ge=0, le=1)
    strong_weight: NonNegativeFloat = 0.25
    kd_weight: NonNegativeFloat = 0.5
    eta: float = Field(0.3, ge=0, le=1)
    weak_drop: float = Field(0.25, ge=0, lt=1)
    strong_drop: float = Field(0.75, ge=0, lt=1)
    smooth: PositiveFloat = 1e-4
    background: bool = True
    labelled_dice: bool = True
    partner: Literal["same", "other"] = "other"

    def state(self, student: nn.Module, space: LabelSpace) -> dict[str, nn.Module]:
        """Return the threshold, if it is a moving average."""
        if self.threshold_schedule != "adaptive":
            return {}
        moving = thresholds.MovingThreshold(self.threshold, self.threshold_momentum)
        return {"threshold": moving}

    def label_ranges_of_own(self) -> dict[str, Range | Choice]:
        """Return what decides about pseudo-labels: the threshold only if it stays what it is."""
        ranges = super().label_ranges_of_own()
        if self.threshold_schedule != "fixed":
            ranges.pop("threshold", None)
        return ranges

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the labelled loss, those of the strong views, and the distillation."""
        weak, partner = (twice(each) for each in (step.unlabelled, step.partner))
        box = self.boxes(step, weak)
        strong = step.normalise(self.strong_view(step, weak, partner, box))
        partner_labels = self.partner_labels(step)
        labelled, weak_logits = self.weak_pass(step)
        _, first, second = self.decode_streams(step.student, *strong.chunk(2))
        labels = self.labels(step, weak_logits, step.unlabelled)
        threshold = self.current_threshold(step, labels.clean)
        confident = labels.clean.confidence >= threshold
        step.log("confident", losses.share(confident, labels.clean.valid))
        terms = consistency(
            partial(self.taught_loss, step.space, threshold),
            first,
            second,
            weak_logits,
            labels.clean,
            [pasted(labels, partner_labels, each) for each in box.chunk(2)],
        )
        return self.weighted(labelled, terms)

    def partner_labels(self, step: Step) -> Streams[PseudoLabel]:
        """Label the partners with each stream.

        As in the original, partners are alone where they are seen clean, but together with the
        labelled images where they are perturbed.
        """
        images = step.normalise(step.partner.images)
        with torch.no_grad():
            clean = step.student(images)
            _, _, streams = self.decode_streams(step.student, step.labelled, images)
        return self.labels(step, streams._replace(clean=clean), step.partner)

    def weak_pass(self, step: Step) -> tuple[Tensor, Streams[Tensor]]:
        """Return the labelled loss, and the streams' logits on the weak view."""
        images = step.normalise(step.unlabelled.images)
        features, logits, streams = self.decode_streams(step.student, step.labelled, images)
        own = tuple(each[: len(logits)] for each in features)
        auxiliary = step.student.auxiliary(own, logits.shape[-2:])
        loss = step.labelled_loss(logits, auxiliary)
        if self.labelled_dice:
            loss = (loss + self.dice(step.space, logits, step.labels)) / 2
        return loss, streams

    def decode_streams(
        self, network: Network, first: Tensor, second: Tensor
    ) -> tuple[Features, Tensor, Streams[Tensor]]:
        """Pass two batches through a network together, and decode perturbations of the second.

        Args:
            network: In training mode; BatchNorm sees all at once.
            first: Normalised images (B, C, H, W).
            second: Likewise (N, C, H, W).

        Returns:
            The features of both batches, the logits of the first, and those of the second, by
            stream.
        """
        features = network.encode(torch.cat([first, second]))
        of_second = tuple(each[len(first) :] for each in features)
        streams = [network.perturb(of_second, drop) for drop in (self.weak_drop, self.strong_drop)]
        together = tuple(torch.cat(maps) for maps in zip(features, *streams, strict=True))
        logits = network.decode(together, first.shape[-2:])
        own, *others = torch.split(logits, [len(first), *[len(second)] * 3])
        return features, own, Streams(*others)

    def labels(self, step: Step, logits: Streams[Tensor], view: View) -> Streams[PseudoLabel]:
        """Return the pseudo-labels of each stream."""
        return Streams(*(step.pseudo_label(step.space.activate(each), view) for each in logits))

    def current_threshold(self, step: Step, label: PseudoLabel) -> float | Tensor:
        """Return the confidence from which pixels teach in this step.

        Args:
            step: Its clock tells how far the threshold has risen.
            label: What a moving average follows.
        """
        if self.threshold_schedule == "rising":
            ramp = self.threshold_ramp * step.clock.iterations
            return rising_threshold(self.threshold, step.clock.iteration, ramp)
        if self.threshold_schedule == "adaptive":
            moved: Tensor = step.state["threshold"](label)
            return moved
        return self.threshold

    def taught_loss(
        self, space: LabelSpace, threshold: float | Tensor, logits: Tensor, label: PseudoLabel
    ) -> Tensor:
        """Return the Dice loss over the confident pixels of a batch."""
        teaching = losses.confident(label, threshold) & label.valid
        return self.dice(space, logits, label.label, teaching)

    def dice(
        self, space: LabelSpace, logits: Tensor, labels: Tensor, counted: Tensor | None = None
    ) -> Tensor:
        """Return the Dice loss, over all pixels with a label or over some, bool (B, H, W)."""
        ignore = ~(space.valid(labels) if counted is None else counted)
        return losses.label_dice(space, logits, labels, ignore, self.smooth, self.background)

    def weighted(self, labelled: Tensor, terms: Consistency) -> dict[str, Tensor]:
        """Return what is summed: each loss with its weight, the whole halved."""
        unlabelled = 0.5 * self.unlabelled_weight
        return {
            "labelled.loss": 0.5 * labelled,
            "strong.loss": unlabelled * self.strong_weight * torch.stack(terms.strong).sum(),
            "distillation.loss": unlabelled * self.kd_weight * distillation(terms, self.eta),
        }


def pasted(
    own: Streams[PseudoLabel], other: Streams[PseudoLabel], box: Tensor
) -> Streams[PseudoLabel]:
    """Return each stream's labels with the other's pasted inside boxes, bool (B, H, W)."""
    return Streams(*(a.pasted(b, box) for a, b in zip(own, other, strict=True)))


def consistency(
    taught: Callable[[Tensor, PseudoLabel], Tensor],
    first: Tensor,
    second: Streams[Tensor],
    weak: Streams[Tensor],
    label: PseudoLabel,
    mixed: Sequence[Streams[PseudoLabel]],
) -> Consistency:
    """Return the losses on unlabelled images.

    Args:
        taught: The loss of logits that a pseudo-label teaches.
        first: Logits on the first strong view, (B, C, H, W).
        second: Logits on the second.
        weak: Logits on the weak view.
        label: Of the weak view, from clean features.
        mixed: For each strong view, the labels of the weak view with the partner's pasted.
    """
    of_first, of_second = mixed
    return Consistency(
        strong=(taught(first, of_first.clean), taught(second.clean, of_second.clean)),
        from_clean=(
            taught(weak.weak, label),
            taught(weak.strong, label),
            taught(second.weak, of_second.clean),
            taught(second.strong, of_second.clean),
        ),
        from_own=(taught(second.weak, of_second.weak), taught(second.strong, of_second.strong)),
    )


def distillation(terms: Consistency, eta: float) -> Tensor:
    """Return the loss of all perturbed streams, of which ``eta`` is taught by the same stream."""
    from_clean, from_own = (torch.stack(each).mean() for each in (terms.from_clean, terms.from_own))
    return (1 - eta) * from_clean + eta * from_own


def rising_threshold(base: float, iteration: int, ramp: float) -> float:
    """Return the threshold of a step, which rises as for LA.

    The first step has ``base`` itself. Afterwards it is a Gaussian ramp from ``base`` to 1, times
    ln 2, as a bound on the entropy of two classes would be: it begins below ``base``.

    Args:
        base: In 0..1.
        iteration: Steps done so far.
        ramp: Steps until the threshold has risen.

    Source: AiEson/CrossMatch, LA/code/train_cross_match.py and ``sigmoid_rampup``.
    """
    if iteration == 0:
        return base
    left = max(0.0, 1 - (iteration - 1) / ramp)
    return (base + (1 - base) * math.exp(-5 * left**2)) * math.log(2)
