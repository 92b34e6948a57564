"""FPL: two networks teach each other which classes a pixel may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from im_bench.lazy import lazy_module
from im_bench.methods.online import OnlineMethod
from im_bench.methods.ranges import Choice, Range

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from im_bench.semi import boxes, fuzzy_positives, pseudo_label
    from im_bench.semi.network import Network
    from im_bench.semi.pseudo_label import PseudoLabel
    from im_bench.semi.step import Step, View
else:
    torch = lazy_module("torch")
    boxes = lazy_module("im_bench.semi.boxes")
    fuzzy_positives = lazy_module("im_bench.semi.fuzzy_positives")
    pseudo_label = lazy_module("im_bench.semi.pseudo_label")


Share = Annotated[float, Field(ge=0, le=1)]


class FPL(OnlineMethod):
    """Fuzzy Positive Learning on Cross Pseudo Supervision (CPS).

    Two networks learn from the labelled images and from each other: the most probable classes of
    the one are positives for the other, on images mixed of two. BatchNorm's statistics follow the
    passes that make pseudo-labels, too; as in the original each batch passes alone.

    In binary and multi-label spaces each sigmoid is a softmax over two classes, of which one is
    positive: FPL is then CPS with weights.

    With Inconsistency Masks, inconsistent pixels add neither to the fuzzy loss nor to the value to
    which it is rescaled. Where the teachers' consensus is taught, it is the only positive.

    Attributes:
        threshold: Sum of the probabilities of the positives and the next class that ends the search
            for more positives.
        max_positives: Most positives of a pixel; always fewer than there are classes.
        weighting: How a pixel's weight depends on the gap between positives and the next class
            (original: ``concave`` on Cityscapes, ``none`` on Pascal).
        unlabelled_weight: Factor of the unlabelled loss (original: 5 on Cityscapes, 1 on Pascal).
        box_count: Boxes of a mixing mask, which cancel where they overlap.
        box_area: Range of the share of the image that each would have alone.
        ignore_padding: Whether the padding of crops teaches nothing. In the original it does, with
            pseudo-labels.
        partner: What is mixed in: another photograph.
    """

    title: ClassVar[str] = "FPL"
    source: ClassVar[str] = (
        "Qiao et al., Fuzzy Positive Learning for Semi-Supervised Semantic Segmentation, "
        "CVPR 2023; qpc1611094/FPL, FPL_based_on_CPS"
    )
    search: ClassVar = {
        "threshold": Range(0.5, 0.99),
        "unlabelled_weight": Range(0.5, 10, log=True),
        "weighting": Choice(("none", "linear", "convex", "concave")),
    }
    companion: ClassVar = "twin"

    threshold: float = Field(0.9, ge=0, le=1)
    max_positives: PositiveInt = 3
    weighting: Literal["none", "linear", "convex", "concave"] = "concave"
    unlabelled_weight: NonNegativeFloat = 5.0
    box_count: PositiveInt = 3
    box_area: tuple[Share, Share] = (0.25, 0.5)
    ignore_padding: bool = False
    partner: Literal["same", "other"] = "other"

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the labelled losses of both networks and their loss on each other's labels."""
        networks = (step.student, step.companion)
        box = self.mixing_boxes(step)
        mixed = mixed_view(step.unlabelled, step.partner, box)
        labels, taught = zip(
            *(self.target(step, each, mixed, box) for each in networks), strict=True
        )
        images = step.normalise(step.blank(mixed.images, mixed))
        logits = [step.space.categorical(network(images)) for network in networks]
        kept = labels[0].kept & labels[0].valid if self.ignore_padding else labels[0].kept
        made = fuzzy_positives.cross_loss(
            logits,
            taught[::-1],
            kept.repeat_interleave(step.space.groups, dim=0),
            self.threshold,
            self.max_positives,
            self.weighting,
        )
        step.log("balance", made.balance)
        return {
            "labelled.loss": step.labelled_alone(networks[0]),
            "twin.labelled.loss": step.labelled_alone(networks[1]),
            "unlabelled.loss": self.unlabelled_weight * made.loss,
        }

    def mixing_boxes(self, step: Step) -> Tensor:
        """Draw where the partner is mixed in, bool (B, H, W)."""
        count, _, height, width = step.unlabelled.images.shape
        return boxes.xor_boxes(count, height, width, step.generator, self.box_count, self.box_area)

    def target(
        self, step: Step, network: Network, mixed: View, box: Tensor
    ) -> tuple[PseudoLabel, Tensor]:
        """Return what a network in training mode says of the mixed images.

        Args:
            step: The step.
            network: Of the two, the one that teaches.
            mixed: The mixed view.
            box: Where it shows the partner, bool (B, H, W).

        Returns:
            Pseudo-labels, and the probabilities that teach, (B * G, K, H, W): the network's; where
            the consensus of Inconsistency Masks is taught, 0 and 1.
        """
        with torch.no_grad():
            own, other = (
                network(step.normalise(each.images)) for each in (step.unlabelled, step.partner)
            )
        logits = pseudo_label.paste(own, other, box)
        label = step.pseudo_label(step.space.activate(logits), mixed)
        probabilities = step.space.categorical(logits).softmax(dim=1)
        if step.masking is not None and step.masking.labels == "consensus":
            certain = (label.confidence >= 1).repeat_interleave(step.space.groups, dim=0)
            classes = torch.arange(probabilities.shape[1], device=box.device).view(-1, 1, 1)
            one_hot = step.space.categories(label.label).unsqueeze(1) == classes
            probabilities = torch.where(certain.unsqueeze(1), one_hot.float(), probabilities)
        return label, probabilities


def mixed_view(own: View, other: View, box: Tensor) -> View:
    """Return a view with another one pasted inside boxes, bool (B, H, W)."""
    pasted: list[Any] = [
        None if mine is None or theirs is None else pseudo_label.paste(mine, theirs, box)
        for mine, theirs in zip(own, other, strict=True)
    ]
    return type(own)(*pasted)
