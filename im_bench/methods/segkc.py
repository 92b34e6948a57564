"""SegKC: a large and a small network teach each other, by labels, predictions and features."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from im_bench.lazy import lazy_module
from im_bench.methods.fixmatch import unlabelled_loss
from im_bench.methods.online import OnlineMethod
from im_bench.methods.ranges import Range
from im_bench.methods.unimatch_v2 import mixed_views

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from im_bench.data.label_spaces import LabelSpace
    from im_bench.semi import consultation, losses, network, pseudo_label
    from im_bench.semi.network import Features, Network
    from im_bench.semi.pseudo_label import PseudoLabel
    from im_bench.semi.step import Step
else:
    torch = lazy_module("torch")
    consultation = lazy_module("im_bench.semi.consultation")
    losses = lazy_module("im_bench.semi.losses")
    network = lazy_module("im_bench.semi.network")
    pseudo_label = lazy_module("im_bench.semi.pseudo_label")


class Reading(NamedTuple):
    """What a network says of images.

    Attributes:
        features: The maps that its decoder reads.
        logits: float32 (B, C, H, W).
    """

    features: Features
    logits: Tensor


class Meeting(NamedTuple):
    """What both networks say of the same images.

    Attributes:
        junior: The junior's reading.
        senior: The senior's.
        of_junior: The junior's labels; which pixels are kept and valid, both say alike.
        of_senior: The senior's.
    """

    junior: Reading
    senior: Reading
    of_junior: PseudoLabel
    of_senior: PseudoLabel


class SegKC(OnlineMethod):
    """Cross pseudo supervision of two heterogeneous networks, with knowledge consultation.

    The junior (the student) is trained together with the senior (the twin, usually of a larger
    backbone). Each is taught by the other's pseudo-labels on strong views, and consults the other
    on the same views: its features, projected, approach the other's features, and its predictions
    the other's predictions. The junior is deployed.

    No code of SegKC is public, and what the paper's summaries tell ends with the paragraph above.
    All else had to be decided here; each decision is a field:

    * Pseudo-labels are those of UniMatch V2: predicted on the weak view, and used from a
      ``threshold`` of confidence on. They are the peer's itself, not an average's; it predicts in
      the mode ``labelling``.
    * Strong views are those of UniMatch V2, too: other colours, and with the probability
      ``cutmix`` a box of the image at the mirrored place in the batch. There are ``views`` of them.
      Both networks see the same ones.
    * Consultation is on the strong views, and on labelled images if ``consult_labelled``. Who is
      consulted does not follow unless ``consulted_follows``: its features and predictions are
      constants.
    * Features are the last ``levels`` maps that the decoder reads, projected by
      ``projection_layers`` 1x1 convolutions and compared by ``feature_distance``.
    * Predictions are compared by the Kullback-Leibler divergence at a ``temperature``, at
      ``prediction_pixels``.
    * Each network's losses on labels are weighed as in UniMatch V2, ``unlabelled_weight`` to 1 and
      both halved; consultation comes on top by ``feature_weight`` and ``prediction_weight``.

    With Inconsistency Masks, inconsistent pixels are consulted on as little as they are taught.
    In binary and multi-label spaces predictions are softmaxes over two classes.

    Attributes:
        threshold: Confidence from which a pixel teaches.
        unlabelled_weight: Factor of a network's loss on pseudo-labels.
        cutmix: Probability that a box is pasted into a strong view.
        views: Strong views of each unlabelled image.
        labelling: Mode of the network that makes pseudo-labels: ``evaluation`` or ``training``,
            which differ where there is BatchNorm or dropout.
        consult_labelled: Whether the networks also consult each other on labelled images.
        consulted_follows: Whether gradients flow into whom a network consults.
        feature_weight: Factor of the consultation on features, the sum of both directions.
        feature_distance: ``cosine`` or ``mse``.
        levels: How many of the last feature maps are compared.
        projection_layers: Convolutions of each projection.
        prediction_weight: Factor of the consultation on predictions, the sum of both directions.
        prediction_pixels: ``all``, or only those of which the consulted one is ``confident``.
        temperature: Divides the logits that are compared.
        partner: None: boxes come from the batch itself.
    """

    title: ClassVar[str] = "SegKC"
    source: ClassVar[str] = (
        "Than et al., Knowledge Consultation for Semi-Supervised Semantic Segmentation, "
        "arXiv 2503.10693; a reconstruction, since no code is public"
    )
    search: ClassVar = {
        "threshold": Range(0.0, 0.99),
        "unlabelled_weight": Range(0.25, 4, log=True),
        "feature_weight": Range(0.01, 1, log=True),
        "prediction_weight": Range(0.01, 1, log=True),
        "temperature": Range(1, 4),
    }
    label_search: ClassVar = {"threshold": Range(0.0, 0.99)}
    companion: ClassVar = "twin"

    threshold: float = Field(0.95, ge=0, le=1)
    unlabelled_weight: NonNegativeFloat = 1.0
    cutmix: float = Field(0.5, ge=0, le=1)
    views: PositiveInt = 1
    labelling: Literal["evaluation", "training"] = "evaluation"
    consult_labelled: bool = False
    consulted_follows: bool = False
    feature_weight: NonNegativeFloat = 0.1
    feature_distance: Literal["cosine", "mse"] = "cosine"
    levels: PositiveInt = 1
    projection_layers: PositiveInt = 1
    prediction_weight: NonNegativeFloat = 0.1
    prediction_pixels: Literal["all", "confident"] = "all"
    temperature: PositiveFloat = 1.0
    partner: Literal["none"] = "none"

    def twin_state(
        self, student: nn.Module, twin: nn.Module, space: LabelSpace
    ) -> dict[str, nn.Module]:
        """Return the projections from junior to senior and from senior to junior."""
        junior, senior = (network.Network(each).widths() for each in (student, twin))
        return {
            name: consultation.Projection(before, after, self.levels, self.projection_layers)
            for name, before, after in (
                ("junior_projection", junior, senior),
                ("senior_projection", senior, junior),
            )
        }

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return both networks' losses on labels and pseudo-labels, and those of consultation."""
        networks = (step.student, step.companion)
        labels = [self.label(step, each) for each in networks]
        step.log("confident", losses.share(labels[0].confidence >= self.threshold, labels[0].valid))
        readings = [read(each, step.labelled) for each in networks]
        labelled = [
            self.labelled_loss(step, *each) for each in zip(networks, readings, strict=True)
        ]
        strong, mixed = mixed_views(step, step.unlabelled, labels, self.views, self.cutmix)
        images = step.normalise(strong)
        junior, senior = (read(each, images) for each in networks)
        of_junior, of_senior = mixed
        meetings = [Meeting(junior, senior, of_junior, of_senior)]
        if self.consult_labelled:
            truth = certain(step.space, step.labels)
            meetings.append(Meeting(readings[0], readings[1], truth, truth))
        unlabelled = 0.5 * self.unlabelled_weight
        return {
            "labelled.loss": 0.5 * labelled[0],
            "twin.labelled.loss": 0.5 * labelled[1],
            "strong.loss": unlabelled
            * unlabelled_loss(step.space, junior.logits, of_senior, self.threshold),
            "twin.strong.loss": unlabelled
            * unlabelled_loss(step.space, senior.logits, of_junior, self.threshold),
            "feature.loss": self.feature_weight
            * torch.stack([self.feature_consultation(step, each) for each in meetings]).sum(),
            "prediction.loss": self.prediction_weight
            * torch.stack([self.prediction_consultation(step, each) for each in meetings]).sum(),
        }

    def labelled_loss(self, step: Step, reader: Network, reading: Reading) -> Tensor:
        """Return a network's loss on the labelled images."""
        auxiliary = reader.auxiliary(reading.features, reading.logits.shape[-2:])
        return step.labelled_loss(reading.logits, auxiliary)

    def label(self, step: Step, teacher: Network) -> PseudoLabel:
        """Return what one of the networks says of the weak view."""
        images = step.normalise(step.unlabelled.images)
        if self.labelling == "evaluation":
            logits = teacher.predict(images)
        else:
            with torch.no_grad():
                logits = teacher(images)
        return step.pseudo_label(step.space.activate(logits), step.unlabelled)

    def feature_consultation(self, step: Step, meeting: Meeting) -> Tensor:
        """Return how far each network's projected features are from the other's."""
        junior, senior = meeting.junior.features, meeting.senior.features
        directions = (
            step.state["junior_projection"](junior, senior, self.consulted_follows),
            step.state["senior_projection"](senior, junior, self.consulted_follows),
        )
        kept, valid = meeting.of_senior.kept, meeting.of_senior.valid
        distances = [
            consultation.feature_loss(pairs, kept, valid, self.feature_distance)
            for pairs in directions
        ]
        return torch.stack(distances).sum()

    def prediction_consultation(self, step: Step, meeting: Meeting) -> Tensor:
        """Return how far each network's predictions are from the other's."""
        directions = (
            (meeting.junior, meeting.senior, meeting.of_senior),
            (meeting.senior, meeting.junior, meeting.of_junior),
        )
        distances = []
        for asking, consulted, label in directions:
            one, other = (step.space.categorical(each.logits) for each in (asking, consulted))
            confident = losses.confident(label, self.threshold)
            counts, valid = (
                each.repeat_interleave(step.space.groups, dim=0)
                for each in (
                    label.kept if self.prediction_pixels == "all" else confident,
                    label.valid,
                )
            )
            each = consultation.divergence(one, other, self.temperature, self.consulted_follows)
            distances.append(losses.masked_mean(each, counts, valid))
        return torch.stack(distances).sum()


def read(reader: Network, images: Tensor) -> Reading:
    """Return what a network says of normalised images (B, C, H, W)."""
    features = reader.encode(images)
    return Reading(features, reader.decode(features, images.shape[-2:]))


def certain(space: LabelSpace, labels: Tensor) -> PseudoLabel:
    """Return label bytes (B, H, W) as pseudo-labels of which there is no doubt."""
    valid = space.valid(labels)
    return pseudo_label.PseudoLabel(
        labels, torch.ones_like(labels, dtype=torch.float32), valid, valid
    )
