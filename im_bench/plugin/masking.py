"""From what teachers say to labels and masks for a batch that is being trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from im_bench.data.label_maps import UNDECIDED
from im_bench.data.label_spaces import IGNORED
from im_bench.errors import ImBenchError
from im_bench.masks import MaskedBatch, MaskOptions, block_input, inconsistency_masked
from im_bench.plugin.networks import Student
from im_bench.plugin.teachers import TeacherEnsemble

Fill = Literal["black", "mean"]


@dataclass(frozen=True)
class Schedule:
    """When pseudo-labels are used, and for how many unlabelled images.

    Attributes:
        warmup: Iterations without any.
        ramp: Iterations after that in which the share of images that get some grows from 0 to 1.
    """

    warmup: int = 0
    ramp: int = 0

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.ramp < 0:
            raise ImBenchError(
                f"warmup ({self.warmup}) and ramp ({self.ramp}) count iterations: "
                "they must not be negative"
            )

    def share(self, iteration: int) -> float:
        """Return the expected share of unlabelled images with pseudo-labels, 0..1."""
        if iteration < self.warmup:
            return 0.0
        if not self.ramp:
            return 1.0
        return min(1.0, (iteration - self.warmup + 1) / (self.ramp + 1))

    def drawn(self, iteration: int, count: int, seed: tuple[int, ...]) -> list[bool]:
        """Draw which of ``count`` images get pseudo-labels, from the seed and the iteration."""
        draws = np.random.default_rng((*seed, iteration)).random(count)
        return [bool(draw < self.share(iteration)) for draw in draws]


class FilledIn(NamedTuple):
    """Unlabelled images with pseudo-labels.

    Attributes:
        images: As given, (B, C, H, W), blanked where teachers disagree.
        labels: uint8 (B, H, W); 255 where ignored.
        inconsistent: bool (B, H, W), the mask; never on padding.
        inside: bool (B, H, W), False on padding.
    """

    images: Tensor
    labels: Tensor
    inconsistent: Tensor
    inside: Tensor


class TeacherMasks:
    """Consensus and inconsistency of an ensemble, for one student.

    Args:
        ensemble: The teachers.
        student: Whose images and labels these are.
        options: Morphology, blocking and image filter.
        fill: What blanked pixels of a plain segmentor's images become.
        reverse: Whether the student takes the channels in the reverse order of the files' loader;
            see :func:`reverses_channels`.

    Attributes:
        silent: Set to keep a semi-supervised method without masks for a while.
    """

    def __init__(
        self,
        ensemble: TeacherEnsemble,
        student: Student,
        options: MaskOptions,
        fill: Fill = "black",
        *,
        reverse: bool,
    ) -> None:
        self._ensemble = ensemble
        self._student = student
        self._options = options
        self._fill = fill
        self._reverse = reverse
        self.silent = False

    @torch.no_grad()
    def mask(self, images: Tensor, normalised: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return what a semi-supervised method asks for; None while there are no teachers.

        Args:
            images: float32 (B, C, H, W) in 0..1.
            normalised: The same as the student takes them.

        Returns:
            The consensus, uint8 (B, H, W), and the inconsistency, bool (B, H, W). An image that
            the image filter leaves out is inconsistent everywhere.
        """
        if self.silent or not self._ensemble.ready:
            return None
        return self._masks(images, self._ensemble.labels(images, normalised))

    @torch.no_grad()
    def stored(self, consensus: Tensor, inconsistent: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same as :meth:`mask` from what the teachers have said before.

        Args:
            consensus: uint8 (B, H, W).
            inconsistent: bool (B, H, W), where there is none.
        """
        if self.as_stored:
            return consensus, inconsistent
        predictions = as_predictions(consensus.masked_fill(inconsistent, UNDECIDED))
        return self._masks(consensus[:, None], predictions)

    @property
    def as_stored(self) -> bool:
        """Whether masks stay as the teachers' disagreement gives them."""
        options = self._options
        return not options.erode and not options.dilate and options.image_filter == "none"

    def _masks(self, images: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
        made = inconsistency_masked(images, predictions, self._student.space, self._options)
        return made.labels, made.inconsistent | ~made.keep[:, None, None]

    def raw_labels(self, images: Tensor) -> Tensor:
        """Return what each teacher says of images as they are loaded.

        Args:
            images: uint8 or float (B, C, H, W) in 0..255, channels in the order of the files'
                loader.

        Returns:
            Label bytes, uint8 (K, B, H, W).
        """
        unit = self._reversed(images.float() / 255)
        return self._ensemble.labels(unit, self._student.normalisation(unit))

    @torch.no_grad()
    def fill_in(self, images: Tensor, marks: Tensor, cached: bool) -> FilledIn:
        """Pseudo-label images as a plain segmentor's batch holds them.

        Args:
            images: As for :meth:`raw_labels`; also uint16.
            marks: uint8 (B, H, W): 255 on padding, and for ``cached`` ones the consensus or 254.
            cached: Whether the marks hold the teachers' word already.
        """
        if (
            images.dtype is not torch.uint8 and not images.is_floating_point()
        ):  # PyTorch blanks no uint16
            images = images.float()
        inside = marks != IGNORED
        predictions = as_predictions(marks) if cached else self.raw_labels(images)
        made = inconsistency_masked(images, predictions, self._student.space, self._options)
        labels = made.labels.where(inside & made.keep[:, None, None], self._ignored)
        return FilledIn(self._blanked(images, made), labels, made.inconsistent & inside, inside)

    @property
    def _ignored(self) -> int:
        """The label that teaches nothing. Multi-label bytes have none: there it is no class."""
        return 0 if self._student.space == "multilabel" else IGNORED

    def _blanked(self, images: Tensor, made: MaskedBatch) -> Tensor:
        if self._fill == "black" or not self._options.block_input:
            return made.images
        mean = self._reversed(self._student.normalisation.mean[None] * 255)
        # Centred, the mean is 0. As floats, since the mean is no byte.
        return block_input(images - mean, made.inconsistent) + mean

    def _reversed(self, images: Tensor) -> Tensor:
        """Return images (B, C, H, W) with the student's order of channels for the loader's."""
        return images.flip(1) if self._reverse and images.shape[1] == 3 else images


def reverses_channels(preprocessor: Any) -> bool:
    """Return whether a preprocessor of MMSegmentation or im-bench reverses an image's channels."""
    bgr_to_rgb = getattr(preprocessor, "bgr_to_rgb", False)
    return bool(getattr(preprocessor, "_channel_conversion", bgr_to_rgb))


def as_predictions(marks: Tensor) -> Tensor:
    """Return two teachers' predictions, uint8 (2, B, H, W), that have a given consensus.

    Args:
        marks: uint8 (B, H, W): the common label, 254 where there is none; 255 counts as label 0.
    """
    undecided = marks == UNDECIDED
    labels = marks.masked_fill(marks >= UNDECIDED, 0)
    return torch.stack([labels, labels.masked_fill(undecided, 1)])
