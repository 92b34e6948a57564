"""One step of a semi-supervised training, as a method sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from im_bench.data.label_spaces import LabelSpace
from im_bench.errors import ImBenchError
from im_bench.masks.blocking import block_input
from im_bench.semi.network import Network
from im_bench.semi.pseudo_label import PseudoLabel
from im_bench.semi.strong_views import StrongView, strong_view

if TYPE_CHECKING:
    from im_bench.semi.masking import Masking


class View(NamedTuple):
    """A weak view of a batch of unlabelled images.

    Attributes:
        images: float32 (B, C, H, W) in 0..1, not normalised.
        valid: Where there is image and not padding, bool (B, H, W).
        consensus: What the teachers of Inconsistency Masks agree on, label bytes (B, H, W), or
            None without them.
        inconsistent: Where they do not agree, bool (B, H, W), or None without them.
    """

    images: Tensor
    valid: Tensor
    consensus: Tensor | None = None
    inconsistent: Tensor | None = None


class Clock(NamedTuple):
    """Where a training is.

    Attributes:
        iteration: Steps done so far.
        iterations: Steps in all.
        epoch_length: Steps per pass over the unlabelled images.
    """

    iteration: int = 0
    iterations: int = 1
    epoch_length: int = 1

    @property
    def epoch(self) -> int:
        """Epochs done so far."""
        return self.iteration // self.epoch_length

    @property
    def epochs(self) -> int:
        """Epochs in all, rounded up."""
        return -(-self.iterations // self.epoch_length)


@dataclass
class Step:
    """What a method gets to work with in one step.

    Attributes:
        labelled: Labelled images, normalised, float32 (B, C, H, W).
        labels: Their label bytes (B, H, W).
        views: Weak views: ``unlabelled``, and ``partner`` to paste from, as far as there are any.
        student: The network that is trained.
        second: Its EMA copy or twin, or None if the method has none; see :attr:`companion`.
        state: The method's own modules.
        space: What labels mean.
        clock: Where the training is.
        generator: For all random draws, on the device of the images.
        normalise: Turns images in 0..1 into what networks take.
        supervise: The labelled loss; see :meth:`labelled_loss`.
        masking: How Inconsistency Masks act, or None without them.
        logged: What :meth:`log` was told.
    """

    labelled: Tensor
    labels: Tensor
    views: Mapping[str, View]
    student: Network
    second: Network | None
    state: nn.ModuleDict
    space: LabelSpace
    clock: Clock
    generator: torch.Generator
    normalise: Callable[[Tensor], Tensor]
    supervise: Callable[[Tensor, Tensor, Sequence[Tensor]], Tensor]
    masking: Masking | None = None
    logged: dict[str, Tensor] = field(default_factory=dict)

    @property
    def companion(self) -> Network:
        """The student's EMA copy or twin.

        Raises:
            ImBenchError: The method declares none.
        """
        if self.second is None:
            raise ImBenchError(
                "the method asks for a companion and declares none: give its class companion='ema' "
                "or companion='twin'"
            )
        return self.second

    @property
    def unlabelled(self) -> View:
        """The weak view of the unlabelled images."""
        return self._view("unlabelled")

    @property
    def partner(self) -> View:
        """A second weak view, of the same photographs or of others, to paste from."""
        return self._view("partner")

    def joint(self, unlabelled: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Pass labelled and unlabelled images through the student as one batch.

        BatchNorm then sees both, as in the originals.

        Args:
            unlabelled: Normalised images (N, C, H, W), as large as the labelled ones.

        Returns:
            The labelled images' logits, those of the auxiliary heads, and the unlabelled images'
            logits (N, C', H, W).
        """
        count, size = len(self.labelled), unlabelled.shape[-2:]
        features = self.student.encode(torch.cat([self.labelled, unlabelled]))
        logits = self.student.decode(features, size)
        auxiliary = [each[:count] for each in self.student.auxiliary(features, size)]
        return logits[:count], auxiliary, logits[count:]

    def labelled_alone(self, network: Network | None = None) -> Tensor:
        """Pass the labelled images alone through a network, and return its loss on them.

        Args:
            network: The student by default.
        """
        network, size = network or self.student, self.labelled.shape[-2:]
        features = network.encode(self.labelled)
        logits = network.decode(features, size)
        return self.labelled_loss(logits, network.auxiliary(features, size))

    def labelled_loss(self, logits: Tensor, auxiliary: Sequence[Tensor] = ()) -> Tensor:
        """Return the loss on the labelled images, with the auxiliary heads' share.

        Args:
            logits: float32 (B, C, H, W).
            auxiliary: Logits of auxiliary heads, of the same shape.
        """
        return self.supervise(logits, self.labels, auxiliary)

    def pseudo_label(self, probabilities: Tensor, view: View) -> PseudoLabel:
        """Make pseudo-labels: the one place where Inconsistency Masks filter them.

        Args:
            probabilities: A teacher's, float32 (B, C, H, W), of the label space. No gradient flows
                back.
            view: What they were predicted on.

        Returns:
            The most probable labels. With Inconsistency Masks ``kept`` is False where their
            teachers disagree, and where they agree label and confidence are theirs if the masking
            says so. Padding is not theirs: it has what the method itself makes of it.
        """
        probabilities = probabilities.detach()
        label = self.space.discretise(probabilities)
        confidence = self.space.confidence(probabilities)
        consensus = view.consensus if self.masking and self.masking.labels == "consensus" else None
        if consensus is not None and view.inconsistent is not None:
            agreed = view.valid & ~view.inconsistent
            label = torch.where(agreed, consensus, label)
            confidence = confidence.masked_fill(agreed, 1.0)
        return PseudoLabel(label, confidence, view.valid, self.kept(view))

    def kept(self, view: View) -> Tensor:
        """Return which pixels Inconsistency Masks let teach, bool (B, H, W).

        For methods that gather statistics of predictions before they make pseudo-labels.
        """
        if self.masking is None or view.inconsistent is None or not self.masking.block_output:
            return torch.ones_like(view.valid)
        return ~view.inconsistent

    def consensus_label(self, view: View) -> PseudoLabel | None:
        """Return the teachers' consensus as pseudo-label, or None without Inconsistency Masks.

        For methods that make no pseudo-labels themselves.
        """
        if self.masking is None or view.consensus is None or view.inconsistent is None:
            return None
        certain = torch.ones_like(view.consensus, dtype=torch.float32)
        agreed = ~view.inconsistent
        kept = agreed if self.masking.block_output else torch.ones_like(agreed)
        return PseudoLabel(view.consensus, certain, view.valid, kept)

    def blank(self, images: Tensor, view: View) -> Tensor:
        """Blacken the pixels of images in 0..1 on which the teachers disagree."""
        if self.masking is None or view.inconsistent is None or not self.masking.block_input:
            return images
        return block_input(images, view.inconsistent)

    def strong(self, images: Tensor, options: StrongView) -> Tensor:
        """Return a strong view of images in 0..1: other colours, the same geometry."""
        return strong_view(images, options, self.generator)

    def log(self, name: str, value: Tensor) -> None:
        """Record a number, a scalar tensor, without adding it to the loss.

        Raises:
            ImBenchError: MMEngine would add it all the same.
        """
        if "loss" in name:
            raise ImBenchError(
                f"a method logs {name!r}, which would be minimised: give what is only logged a "
                "name without 'loss'"
            )
        self.logged[name] = value.detach()

    def _view(self, name: str) -> View:
        if name not in self.views:
            raise ImBenchError(
                f"the batch has no {name!r} images, which the method needs: give them in the "
                "training data set"
            )
        return self.views[name]
