"""U2PL: unreliable pseudo-labels do not teach their class, but what a pixel is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, cast

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from im_bench.lazy import lazy_module
from im_bench.methods.online import OnlineMethod
from im_bench.methods.ranges import Range

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from im_bench.data import label_spaces
    from im_bench.data.label_spaces import LabelSpace
    from im_bench.semi import boxes, contrast, ema, memory_bank, reliability, representation
    from im_bench.semi import pseudo_label as pseudo_labels
    from im_bench.semi.contrast import CandidateRules
    from im_bench.semi.memory_bank import MemoryBank
    from im_bench.semi.pseudo_label import PseudoLabel
    from im_bench.semi.representation import Reading
    from im_bench.semi.step import Clock, Step
else:
    torch = lazy_module("torch")
    label_spaces = lazy_module("im_bench.data.label_spaces")
    boxes = lazy_module("im_bench.semi.boxes")
    contrast = lazy_module("im_bench.semi.contrast")
    ema = lazy_module("im_bench.semi.ema")
    memory_bank = lazy_module("im_bench.semi.memory_bank")
    pseudo_labels = lazy_module("im_bench.semi.pseudo_label")
    reliability = lazy_module("im_bench.semi.reliability")
    representation = lazy_module("im_bench.semi.representation")

Mix = Literal["cutmix", "cutout", "classmix"]
_LABEL_BYTES = 256  # also of multi-label spaces, where a byte is a set of classes


class U2PL(OnlineMethod):
    """U2PL, with the CutMix of the repository's main branch.

    The teacher is an average of the student. Its evaluation mode labels the weak view, its training
    mode says on the mixed images which of these labels are unreliable: there its entropy is high.
    Unreliable pixels teach no class; they are what anchors of the contrastive loss are not.

    In binary and multi-label spaces each sigmoid is a softmax over two classes. Of two classes only
    one can be improbable, so ``low_rank`` is at most one less than the number of classes.

    Attributes:
        drop_percent: Percentile of the entropy from which pixels are unreliable, in the first
            epoch; it rises linearly to 100.
        low_entropy_percent: Percentile of the entropy up to which pixels are anchors and positives,
            in the first epoch; it falls linearly to 0. As many percent at the upper end may become
            negatives.
        negative_high_entropy: Whether negatives need a high entropy.
        anchor_probability: The teacher's probability above which a pixel is an anchor.
        negative_probability: That below which it may be a negative.
        low_rank: Position of a class, from 0, in the teacher's descending probabilities from which
            a pixel may be a negative of it.
        high_rank: Position from which it may not any more.
        negatives_of: ``label``: negatives of a class are pixels labelled as it, which happens where
            the teacher's two modes disagree, and never pixels of labelled images (original).
            ``any``: whatever their pseudo-label, and of labelled images those of other classes
            (paper).
        one_hot: ``first``: the contrastive loss sees only the first image of a batch, at each pixel
            with the labels of all (the repository's mistake), or ``correct``.
        align_classes: Whether anchors meet the memory of their own class where others are absent.
        queries: Anchors per class.
        negatives: Negatives per anchor.
        temperature: Of the contrastive loss.
        features: Length of a pixel's feature vector.
        capacity: Rows of memory for each class but the first.
        capacity_first: Rows of memory for class 0. (In multi-label spaces each sigmoid has one.)
        memory_dtype: Of the memory, which takes 0.6 GB with 19 classes in float32.
        unlabelled_weight: Factor of the loss on pseudo-labels.
        contrastive_weight: Factor of the contrastive loss. The original has none, but divides that
            loss, and not the others, by the number of processes: eight on Cityscapes, where that
            gives 1/8; four on Pascal. The paper says 0.1.
        mix: What is put into an unlabelled image: a half-size box of the next image of the batch,
            such a box of nothing, or the next image outside half of the classes.
        mix_probability: Of a batch to be mixed.
        ema: Decay of the teacher, reached from below.
        supervised_epochs: Epochs on labelled images alone, first (Cityscapes 0, Pascal 1).
        copy_first_epoch: Whether the teacher equals the student in the first epoch with unlabelled
            images, as in the original.
        ignore_padding: Whether the padding of crops teaches nothing. In the original it does, with
            pseudo-labels; and its crops label it as class 0, which is up to the data's pipeline.
    """

    title: ClassVar[str] = "U2PL"
    source: ClassVar[str] = (
        "Wang et al., Semi-Supervised Semantic Segmentation Using Unreliable Pseudo-Labels, "
        "CVPR 2022; Haochen-Wang409/U2PL"
    )
    search: ClassVar = {
        "drop_percent": Range(60, 100),
        "unlabelled_weight": Range(0.25, 4, log=True),
        "contrastive_weight": Range(0.01, 1, log=True),
        "ema": Range(0.9, 0.999),
    }
    companion: ClassVar = "ema"
    deployed: ClassVar = "companion"
    ema_buffers: ClassVar[bool] = False  # the teacher collects its own BatchNorm statistics

    drop_percent: float = Field(80, ge=0, le=100)
    low_entropy_percent: float = Field(20, ge=0, le=100)
    negative_high_entropy: bool = True
    anchor_probability: float = Field(0.3, ge=0, le=1)
    negative_probability: float = Field(1.0, ge=0, le=1)
    low_rank: NonNegativeInt = 3
    high_rank: PositiveInt = 20
    negatives_of: Literal["label", "any"] = "label"
    one_hot: Literal["first", "correct"] = "first"
    align_classes: bool = False
    queries: PositiveInt = 256
    negatives: PositiveInt = 50
    temperature: PositiveFloat = 0.5
    features: PositiveInt = 256
    capacity: PositiveInt = 30_000
    capacity_first: PositiveInt = 50_000
    memory_dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    unlabelled_weight: NonNegativeFloat = 1.0
    contrastive_weight: NonNegativeFloat = 0.125
    mix: Mix = "cutmix"
    mix_probability: float = Field(0.5, ge=0, le=1)
    ema: float = Field(0.99, ge=0, le=1)
    supervised_epochs: NonNegativeInt = 0
    copy_first_epoch: bool = True
    ignore_padding: bool = False

    def state(self, student: nn.Module, space: LabelSpace) -> dict[str, nn.Module]:
        """Return the student's and the teacher's representation heads, and the memory."""
        head = representation.RepresentationHead(
            representation.joined_channels(student), self.features
        )
        groups, classes = space.categorical(torch.zeros(1, space.outputs, 1, 1)).shape[:2]
        capacity = [self.capacity_first, *[self.capacity] * (classes - 1)] * groups
        return {
            "representation": head,
            "representation_ema": ema.averaged_copy(head),
            "memory": memory_bank.MemoryBank(
                capacity, self.features, getattr(torch, self.memory_dtype)
            ),
        }

    def ema_decay(self, clock: Clock) -> float | None:
        """Return 0 while the teacher equals the student, then a decay that rises to ``ema``."""
        since = clock.iteration - self.supervised_epochs * clock.epoch_length
        if self.copy_first_epoch and -1 <= since < clock.epoch_length:
            return 0.0
        return None if since < 0 else min(1 - 1 / (since + 1), self.ema)

    def percents(self, clock: Clock) -> Percents:
        """Return which percentiles of the entropy separate pixels in this epoch."""
        remaining = 1 - clock.epoch / clock.epochs
        low = self.low_entropy_percent * remaining
        return Percents(100 - (100 - self.drop_percent) * remaining, low, 100 - low)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the labelled, the unlabelled and the contrastive loss of one step."""
        if step.clock.epoch < self.supervised_epochs:
            return self.labelled_only(step)
        view, label = self.mixed_view(step)
        target = self.target(step, label)
        images = torch.cat([step.labelled, view])
        student = representation.read(step.student, step.state["representation"], images)
        teacher = self.read_teacher(step, images)
        entropy = self.entropy(step, teacher)
        drop, low, high = reliability.masked_percentiles(
            entropy, target != label_spaces.IGNORED, self.percents(step.clock)
        ).unbind()
        reliable = reliability.without_unreliable(target, entropy, drop)
        step.log("reliable", (reliable != label_spaces.IGNORED).float().mean())
        logits = step.student.resize(student.logits, images.shape[-2:])
        unlabelled = step.space.categorical(logits[len(step.labelled) :])
        return {
            "labelled.loss": self.labelled_loss(step, student, logits),
            "unlabelled.loss": self.unlabelled_weight
            * self.share_left(label)
            * reliability.unlabelled_loss(unlabelled, reliable),
            "contrastive.loss": self.contrastive_weight
            * self.contrast(step, student, teacher, target, entropy, (low, high)),
        }

    def share_left(self, label: PseudoLabel) -> Tensor | float:
        """Return the share of pixels that Inconsistency Masks leave.

        U2PL weighs the remaining pixels up for those that it drops itself, and for nothing else:
        without this factor its loss would grow with the masks.
        """
        return 1.0 if self.mix == "cutout" else label.kept.float().mean()

    def labelled_only(self, step: Step) -> dict[str, Tensor]:
        """Return the losses before unlabelled images come in.

        The teacher collects BatchNorm statistics meanwhile.
        """
        self.read_teacher(step, step.labelled)
        student = representation.read(step.student, step.state["representation"], step.labelled)
        logits = step.student.resize(student.logits, step.labelled.shape[-2:])
        return {
            "labelled.loss": self.labelled_loss(step, student, logits),
            # Distributed training wants a gradient for every parameter.
            "contrastive.loss": 0 * student.representation.sum(),
        }

    def mixed_view(self, step: Step) -> tuple[Tensor, PseudoLabel]:
        """Return the normalised images that both networks learn from, and their pseudo-labels."""
        view = step.unlabelled
        logits = step.companion.predict(step.normalise(view.images))
        label = step.pseudo_label(step.space.activate(logits), view)
        images = step.normalise(step.blank(view.images, view))
        return mixed(images, label, self.boxes(step, label), self.mix)

    def boxes(self, step: Step, label: PseudoLabel) -> Tensor:
        """Draw what is replaced in each image, bool (B, H, W)."""
        generator = step.generator
        if self.mix == "classmix":
            drawn = boxes.class_mix_masks(label.label, _LABEL_BYTES, generator)
        else:
            count, height, width = label.label.shape
            drawn = boxes.half_area_boxes(count, height, width, generator)
        coin = torch.rand((), generator=generator, device=generator.device)
        return drawn & (coin < self.mix_probability)

    def target(self, step: Step, label: PseudoLabel) -> Tensor:
        """Return what pseudo-labels teach: class indices (B * G, H, W), 255 where nothing."""
        teaching = label.kept & label.valid if self.ignore_padding else label.kept
        return step.space.categories(label.label).where(
            teaching.repeat_interleave(step.space.groups, 0), label_spaces.IGNORED
        )

    def read_teacher(self, step: Step, images: Tensor) -> Reading:
        """Pass normalised images through the teacher in training mode, without gradient."""
        teacher, head = step.companion, step.state["representation_ema"]
        with torch.no_grad(), representation.training_mode(teacher.segmentor, head):
            return representation.read(teacher, head, images)

    def entropy(self, step: Step, teacher: Reading) -> Tensor:
        """Return the teacher's entropy on the mixed images, float32 (B * G, H, W)."""
        logits = teacher.logits[len(step.labelled) :]
        logits = step.companion.resize(logits, step.labelled.shape[-2:])
        return reliability.entropy(step.space.categorical(logits))

    def labelled_loss(self, step: Step, student: Reading, logits: Tensor) -> Tensor:
        """Return the loss on the labelled images, which come first, with auxiliary heads."""
        count = len(step.labelled)
        auxiliary = step.student.auxiliary(student.features, logits.shape[-2:])
        return step.labelled_loss(logits[:count], [each[:count] for each in auxiliary])

    def contrast(
        self,
        step: Step,
        student: Reading,
        teacher: Reading,
        target: Tensor,
        entropy: Tensor,
        limits: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Add this step's keys to the memory and return the contrastive loss.

        Args:
            step: The step.
            student: What the student says of labelled and mixed images.
            teacher: What the teacher says of them.
            target: What the mixed images teach, class indices (B * G, H, W), 255 where nothing.
            entropy: The teacher's on them, float32 (B * G, H, W).
            limits: Up to which entropy pixels are reliable, and from which they are unreliable.
        """
        space, memory = step.space, cast("MemoryBank", step.state["memory"])
        grid = teacher.representation.shape[-2:]
        truth, label = (
            reliability.nearest(each, grid) for each in (space.categories(step.labels), target)
        )
        low, high = reliability.reliability_masks(
            truth, label, reliability.nearest(entropy, grid), *limits, self.negative_high_entropy
        )
        # Without need of a high entropy the original counts ignored pixels, to no effect; but where
        # labels do not matter they would become negatives.
        high = high & (torch.cat([truth, label]) != label_spaces.IGNORED)
        probabilities = space.categorical(teacher.logits).softmax(1)
        probabilities = representation.pooled(probabilities, step.labelled.shape[-2:])
        classes = probabilities.shape[1]
        first = space.groups if self.one_hot == "first" else None
        # Only cutout made the original ignore pixels of pseudo-labels; masks ignore many, which
        # must not all count as class 0.
        hot = torch.cat(
            [
                contrast.one_hot(truth, classes, first),
                contrast.one_hot(label, classes, first, count_ignored=self.mix == "cutout"),
            ]
        )
        candidates = contrast.find_candidates(
            hot, probabilities, low, high, len(truth), self.rules(), space.groups
        )
        features = contrast.by_pixel(teacher.representation)
        per_pixel = 1 if self.negatives_of == "label" else classes
        memory.enqueue(*contrast.keys(features, candidates.negatives, per_pixel))
        return contrast.contrastive_loss(
            contrast.by_pixel(student.representation),
            features,
            candidates,
            memory,
            contrast.uniform_draw(step.generator),
            self.queries,
            self.negatives,
            self.temperature,
            self.align_classes,
        )

    def rules(self) -> CandidateRules:
        """Return which pixels are candidates of the contrastive loss."""
        return contrast.CandidateRules(
            anchor_probability=self.anchor_probability,
            negative_probability=self.negative_probability,
            low_rank=self.low_rank,
            high_rank=self.high_rank,
            any_label=self.negatives_of == "any",
        )


class Percents(NamedTuple):
    """Percentiles of the entropy, 0..100.

    Attributes:
        drop: From which a pseudo-label teaches no class.
        low: Up to which a pixel may be anchor and positive.
        high: From which it may be a negative.
    """

    drop: float
    low: float
    high: float


def mixed(images: Tensor, label: PseudoLabel, box: Tensor, mix: Mix) -> tuple[Tensor, PseudoLabel]:
    """Replace parts of the images and of their labels.

    Args:
        images: Normalised, (B, C, H, W).
        label: Their labels.
        box: What is replaced, bool (B, H, W).
        mix: By nothing (``cutout``: 0 in the image, no label), otherwise by the next image of the
            batch.

    Source: original implementation, ``generate_unsup_data``.
    """
    if mix == "cutout":
        label = label._replace(
            confidence=label.confidence.masked_fill(box, 0.0), kept=label.kept & ~box
        )
        return images.masked_fill(box.unsqueeze(1), 0.0), label
    following = torch.arange(len(images), device=images.device).roll(-1)
    pasted = pseudo_labels.paste(images, images.roll(-1, 0), box)
    return pasted, label.pasted(label.take(following), box)
