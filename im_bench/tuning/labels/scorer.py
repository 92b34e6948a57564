"""How good pseudo-labels are, for thousands of ways to make them of the same predictions.

A pixel is kept if it has a true label, the best network is sure enough of it, the teachers agree on
it (after erosion and dilation of their inconsistency mask), and its image passes the image filter.
What is made of the kept pixels is told at :class:`Score`.

Masks depend on the threshold in no way, and there are few of them. For each mask that a trial asks
for, pixels are counted once, by class and confidence (:mod:`im_bench.tuning.labels.histograms`);
any threshold then is a look-up in sums over confidences. These are exact, because confidences are
rounded to float16, as the probabilities are: between one half and one there are 1025 of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from im_bench.data.arrays import extents, images_per_batch
from im_bench.data.label_spaces import label_space
from im_bench.errors import ImBenchError
from im_bench.evaluation.cells import redraw_position_bits
from im_bench.masks import MaskOptions, Space, consensus, dilate, erode, grown_labels, kept_images
from im_bench.stages.pseudo_label import labelling_space, mask_options
from im_bench.tuning.labels.histograms import Levels, Pixels, Sums, level_of
from im_bench.tuning.labels.knobs import Knobs, Labels

BATCH = 16
REMEMBERED = 256  # masks


class Score(NamedTuple):
    """What pseudo-labels are worth; all are fractions in 0..1, and 0 where nothing is kept.

    Attributes:
        quality: Mean over classes of the IoU, of the kept pixels of all images together. Binary and
            multi-label: of the foreground of each channel. The mean is over the classes that the
            true labels have anywhere: one of which no pixel is kept counts 0, so that it does not
            pay to leave out what is difficult.
        coverage: Share of the pixels with a true label that are kept.
        accuracy: Share of the kept pixels whose label byte is the true one.
    """

    quality: float
    coverage: float
    accuracy: float


class Mask(NamedTuple):
    """What decides which pixels are consistent: all but the threshold."""

    teachers: int
    options: MaskOptions


_NO_MASK = Mask(1, MaskOptions())  # one teacher agrees with itself


class LabelScorer:
    """Scores trials on the predictions of K networks for N images.

    Beside the predictions it needs K + 5 bytes per pixel, and for each mask that it remembers 24 C
    bytes per confidence that can occur; images are taken in batches.

    Args:
        probabilities: float16 (K, N, C, H, W), the best network first; may be memory-mapped.
        truth: Label bytes (N, H, W) of the validation images.
        meta: The data set's ``meta.json``.
        labels: Whether the teachers' ``consensus`` is the label, grown where the mask is eroded
            and with cells redrawn, as in the stage ``pseudo-label``; or what the best network says
            ``own``, as in an online method.
        device: Where pixels are counted.

    Raises:
        ImBenchError: No pixel has a true label, a true label does not exist, or the predictions are
            no probabilities.
    """

    def __init__(
        self,
        probabilities: NDArray[np.float16],
        truth: NDArray[np.uint8],
        meta: Mapping[str, Any],
        labels: Labels,
        device: str | torch.device = "cpu",
    ) -> None:
        self._meta, self._consensus = meta, labels == "consensus"
        self._kind: Space = meta["space"]
        self._space = label_space(self._kind, meta["outputs"])
        self._truth = torch.from_numpy(np.array(truth)).to(device)
        size = images_per_batch(dict(meta), BATCH)
        self._batches = [slice(i, i + size) for i in range(0, len(truth), size)]
        self._scored = self._space.valid(self._truth)
        for image, filled in zip(self._scored, extents(meta, "val") or (), strict=False):
            inside = torch.zeros_like(image)
            inside[filled] = True
            image &= inside  # padding has no pixels, not even where a label space ignores none
        self._said, self._own, self._level = self._read(probabilities)
        self._levels = Levels(self._level)
        self._refuse_impossible()
        self._sums: dict[Mask, Sums] = {}
        self._count([_NO_MASK])
        *_, self._true, _, self._valid = self._split(self._sums[_NO_MASK].at(0)[None])

    @property
    def networks(self) -> int:
        """How many networks there are."""
        return len(self._said)

    def mask(self, knobs: Knobs) -> Mask:
        """Return the mask of a trial, with the original's image filter put in.

        Raises:
            ImBenchError: It wants more teachers than there are networks, or a side that a kernel
                cannot have.
        """
        if not 1 <= knobs.teachers <= self.networks:
            raise ImBenchError(
                f"{knobs.teachers} teachers cannot be chosen among {self.networks} predicted "
                "networks: search for other numbers of them, or predict with more"
            )
        config = {
            "erode": knobs.erode,
            "dilate": knobs.dilate,
            "block_input": False,
            "block_output": False,
            "blocked_label": "zero",
            "image_filter": knobs.image_filter,
        }
        return Mask(knobs.teachers, mask_options(config, self._meta))

    def score(self, trials: Sequence[Knobs]) -> list[Score]:
        """Return the score of each trial.

        Raises:
            ImBenchError: As :meth:`mask`.
        """
        masks = [self.mask(knobs) for knobs in trials]
        self._count([mask for mask in dict.fromkeys(masks) if mask not in self._sums])
        positions = self._levels.positions([knobs.threshold for knobs in trials])
        counts = np.stack(
            [self._sums[mask].at(position) for mask, position in zip(masks, positions, strict=True)]
        )
        both, predicted, true, right, kept = self._split(counts)
        iou = both / np.maximum(predicted + true - both, 1)
        quality = iou[:, self._true[0] > 0].mean(1)
        for mask in list(self._sums)[:-REMEMBERED]:
            del self._sums[mask]
        scores = np.stack([quality, kept / self._valid, right / np.maximum(kept, 1)], 1)
        return [Score(*each) for each in scores.tolist()]

    def _split(self, counts: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Split rows of counts: three times (B, C), and right and kept pixels, (B,)."""
        *classes, totals = np.split(counts, np.arange(1, 4) * (counts.shape[1] // 3), axis=1)
        return [*classes, *totals.T]

    def _read(self, probabilities: NDArray[np.float16]) -> tuple[Tensor, Tensor, Tensor]:
        """Turn probabilities into bytes and levels, one batch of one network at a time.

        Returns:
            What each network says as a teacher, uint8 (K, N, H, W); and what the best one says by
            itself, uint8 (N, H, W), and how surely, int16 (N, H, W).
        """
        device = self._truth.device
        said = torch.empty(
            (len(probabilities), *self._truth.shape), dtype=torch.uint8, device=device
        )
        own, level = torch.empty_like(self._truth), torch.empty_like(self._truth, dtype=torch.int16)
        masking = labelling_space(self._meta)
        for rows in self._batches:
            for k in range(len(probabilities)):
                part = torch.from_numpy(np.array(probabilities[k, rows])).to(device).float()
                said[k, rows] = masking.discretise(part)
                if k == 0:
                    own[rows] = self._space.discretise(part)
                    level[rows] = level_of(self._space.confidence(part))
        return said, own, level

    def _refuse_impossible(self) -> None:
        name, valid = self._meta["name"], self._scored
        if not valid.any():
            raise ImBenchError(
                f"no pixel of the validation images of data set {name!r} has a label, so that "
                "pseudo-labels cannot be scored: give it validation labels"
            )
        greatest = int(self._truth[valid].max())
        if greatest >= self._space.label_count:
            raise ImBenchError(
                f"data set {name!r} has the label {greatest} on a validation image, but only "
                f"{self._space.label_count} labels exist: run the data stage again"
            )
        if not 0 <= self._levels.lowest <= int(self._level.max()) < self._levels.end:
            raise ImBenchError(
                f"the predictions for data set {name!r} are no probabilities: predict again"
            )

    def _count(self, masks: Collection[Mask]) -> None:
        """Count the pixels that masks leave, in one pass over the images."""
        by_teachers = defaultdict(list)
        for mask in masks:
            by_teachers[mask.teachers].append(mask)
        counts: dict[Mask, Tensor] = {}
        for rows in self._batches if masks else ():
            for teachers, group in by_teachers.items():
                for mask, counted in self._count_batch(rows, teachers, group).items():
                    counts[mask] = counts[mask] + counted if mask in counts else counted
        self._sums.update({mask: Sums(counted) for mask, counted in counts.items()})

    def _count_batch(self, rows: slice, teachers: int, masks: Sequence[Mask]) -> dict[Mask, Tensor]:
        """Count the pixels of a batch that masks leave, all by the same number of teachers.

        What several masks share is computed once: the consensus, the labels with and without
        growth, morphology and image filters.
        """
        truth = self._truth[rows]
        predictions = self._said[:teachers, rows]
        agreed, disputed = consensus(predictions, self._kind)
        pixels: dict[bool, Pixels] = {}
        consistent: dict[tuple[int, int], Tensor] = {}
        passing: dict[str, Tensor] = {}
        counts = {}
        for mask in masks:
            options = mask.options
            grown, sides = options.erode > 0, (options.erode, options.dilate)
            if grown not in pixels:
                labels = self._labels(rows, agreed, options)
                pixels[grown] = Pixels(self._space, self._levels, self._level[rows], labels, truth)
            if sides not in consistent:
                mask_of_sides = dilate(erode(disputed, options.erode), options.dilate)
                consistent[sides] = self._scored[rows] & ~mask_of_sides
            if options.image_filter not in passing:
                passing[options.image_filter] = kept_images(
                    agreed, disputed, predictions, self._kind, options.image_filter
                )
            kept = consistent[sides] & passing[options.image_filter][:, None, None]
            counts[mask] = pixels[grown].count(kept)
        return counts

    def _labels(self, rows: slice, agreed: Tensor, options: MaskOptions) -> Tensor:
        if not self._consensus:
            return self._own[rows]
        cells = self._meta.get("cells")
        labels = redraw_position_bits(agreed, cells) if cells else agreed
        return grown_labels(labels, self._kind, options) if options.erode else labels
