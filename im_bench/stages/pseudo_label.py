"""The ``pseudo-label`` stage: the best candidates label all images whose labels are hidden.

Its config:

- ``teachers``: how many of the candidates label, the best by validation;
- ``mode``: ``im`` (consensus, and the inconsistency mask) or ``ensemble`` (the plain ensemble: for
  binary tasks where all agree, otherwise the mean probability);
- with ``im`` the fields of :class:`im_bench.schedules.inconsistency_masks.InconsistencyMasks`.

What it leaves is told in :mod:`im_bench.data.pseudo_labels`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from im_bench.data.arrays import (
    extents,
    has_mask,
    images_per_batch,
    read_meta,
    unlabelled_indices,
)
from im_bench.data.label_spaces import IGNORED, LabelSpace, label_space
from im_bench.data.pictures import as_rgb, colour, strip, write_png
from im_bench.data.pseudo_labels import PseudoLabelWriter
from im_bench.errors import ImBenchError
from im_bench.evaluation.cells import redraw_position_bits
from im_bench.masks import (
    MaskedBatch,
    MaskOptions,
    consensus,
    inconsistency_masked,
    mean_ensemble,
    unanimous_ensemble,
)
from im_bench.models.segmentor import LabelSpaceSegmentor
from im_bench.runner.job import SCRATCH, Job, StageInterrupted
from im_bench.stages.selection import best_by_validation
from im_bench.training.inference import load_model

BATCH = 64
SAMPLES = 8
SAVE_SECONDS = 10.0
"""How often the labels are made durable, so that an interrupted labelling goes on from there."""


def run(job: Job) -> dict[str, Any]:
    """Label the unlabelled training images; see the module for what is left.

    Returns:
        The teachers, and the shares of unlabelled images kept, of the kept images' pixels on which
        teachers agree (``pixels_kept``), and of these pixels, where the truth is known, those
        whose label is true (``label_accuracy``; only told, never used).
    """
    data = job.inputs["data"][0] / "arrays"
    meta = read_meta(data)
    _refuse_impossible(job.config, meta)
    folders = best_by_validation(job.inputs["candidates"], meta["metric"], job.config["teachers"])
    teachers = [load_model(folder, data, job.settings.device) for folder in folders]
    unlabelled = unlabelled_indices(meta, data)
    all_images = np.load(data / "train_images.npy", mmap_mode="r")
    all_labels = np.load(data / "train_labels.npy", mmap_mode="r")
    known = has_mask(meta)
    writer = PseudoLabelWriter(
        job.folder,
        job.folder / SCRATCH,
        all_labels.shape[1:],
        blank=job.config.get("block_input", False),
    )
    counts = _Counts(**writer.state)
    size, filled = images_per_batch(meta, BATCH), extents(meta, "train")
    saved_at = time.monotonic()
    while counts.seen < len(unlabelled):
        if job.stop_requested:
            writer.save(asdict(counts))
            raise StageInterrupted
        start = counts.seen
        rows = unlabelled[start : start + size]
        part = (slice(None), *filled[rows[0]]) if filled else slice(None)
        images, truth = torch.from_numpy(all_images[rows][part]), all_labels[rows][part]
        batch, predictions = label(images, teachers, job.config, meta)
        keep = batch.keep.cpu().numpy()
        labels = batch.labels.cpu().numpy()[keep]
        inconsistent = batch.inconsistent.cpu().numpy()[keep]
        writer.add(rows[keep], *_padded(labels, inconsistent, all_labels.shape[1:], meta["space"]))
        counts.add(len(rows), labels, inconsistent, truth[keep], known[rows][keep], meta["space"])
        if start < SAMPLES:
            folder = job.folder / "samples"
            write_samples(folder, images, truth, known[rows], predictions, batch, meta, first=start)
        if time.monotonic() - saved_at >= SAVE_SECONDS:
            writer.save(asdict(counts))
            saved_at = time.monotonic()
        job.progress(counts.seen, len(unlabelled))
    writer.close()
    return {
        "teachers": [folder.name for folder in folders],
        "unlabelled": len(unlabelled),
        **counts.shares(),
    }


def label(
    images: Tensor,
    teachers: Sequence[LabelSpaceSegmentor],
    config: Mapping[str, Any],
    meta: Mapping[str, Any],
) -> tuple[MaskedBatch, Tensor]:
    """Label a batch of images.

    Args:
        images: uint8 (B, H, W, C).
        teachers: In evaluation mode, all in the same label space.
        config: The stage's config.
        meta: The data set's ``meta.json``.

    Returns:
        Blanked images (B, C, H, W), labels, masks and the images to keep; and the teachers' label
        bytes (K, B, H, W). All on the teachers' device.
    """
    space, kind = labelling_space(meta), meta["space"]
    with torch.inference_mode():
        inputs = teachers[0].data_preprocessor({"inputs": images})["inputs"]
        probabilities = torch.stack([teacher.probabilities(inputs) for teacher in teachers])
    predictions = torch.stack([space.discretise(each) for each in probabilities])
    channels_first = images.to(predictions.device).movedim(-1, 1)
    cells = meta.get("cells")
    redraw = partial(redraw_position_bits, cells=cells) if cells else None
    if config["mode"] == "im":
        options = mask_options(config, meta)
        masked = inconsistency_masked(channels_first, predictions, kind, options, redraw)
        return masked, predictions
    if kind == "binary":
        labels = unanimous_ensemble(predictions, kind)
    else:
        labels = mean_ensemble(probabilities, kind)
    nothing = torch.zeros_like(labels, dtype=torch.bool)
    everything = MaskedBatch(
        images=channels_first,
        labels=redraw(labels) if redraw else labels,
        inconsistent=nothing,
        keep=torch.ones(len(labels), dtype=torch.bool),
        inconsistent_sizes=nothing.sum((1, 2)),
        foreground_sizes=(labels != 0).sum((1, 2)),
    )
    return everything, predictions


def labelling_space(meta: Mapping[str, Any]) -> LabelSpace:
    """Return the label space in which teachers are discretised.

    In multi-label data a probability of exactly 0.5 counts as present, as in the original's labels
    for HeLa (and not in its scores).
    """
    options = {"inclusive": True} if meta["space"] == "multilabel" else {}
    return label_space(meta["space"], meta["outputs"], **options)


def mask_options(config: Mapping[str, Any], meta: Mapping[str, Any]) -> MaskOptions:
    """Return how masks are made, with the original's choice of image filter per label space."""
    chosen = config["image_filter"]
    if chosen == "original":
        chosen = "foreground" if meta["space"] == "binary" else "none"
    cells = meta.get("cells")
    return MaskOptions(
        erode=config["erode"],
        dilate=config["dilate"],
        block_input=config["block_input"],
        block_output=config["block_output"],
        blocked_label=0 if config["blocked_label"] == "zero" else 255,
        image_filter=chosen,
        growing_bits=1 << cells["alive"] | 1 << cells["dead"] if cells else 0xFF,
    )


@dataclass
class _Counts:
    """What has been labelled so far.

    Attributes:
        seen: Images that the teachers have labelled.
        kept: Of these, those that passed the image filter.
        pixels: Of the kept images.
        clear: Of these, pixels on which the teachers agree.
        judged: Of these, pixels whose truth is known.
        right: Of these, pixels whose label is true.
    """

    seen: int = 0
    kept: int = 0
    pixels: int = 0
    clear: int = 0
    judged: int = 0
    right: int = 0

    def add(
        self,
        seen: int,
        labels: NDArray[np.uint8],
        inconsistent: NDArray[np.bool_],
        truth: NDArray[np.uint8],
        known: NDArray[np.bool_],
        space: str,
    ) -> None:
        """Count a batch.

        Args:
            seen: Images of the batch.
            labels: Of the kept ones, (n, H, W).
            inconsistent: Likewise.
            truth: Likewise, label bytes.
            known: (n,), whose truth that is.
            space: The label space.
        """
        clear = ~inconsistent
        judged = clear & known[:, None, None]
        if space != "multilabel":
            judged &= truth != IGNORED
        self.seen += seen
        self.kept += len(labels)
        self.pixels += clear.size
        self.clear += int(np.count_nonzero(clear))
        self.judged += int(np.count_nonzero(judged))
        self.right += int(np.count_nonzero(judged & (labels == truth)))

    def shares(self) -> dict[str, float]:
        """Return what share of images and pixels was kept, and how much of that is true.

        Shares of nothing are left out.
        """
        images = {"images_kept": self.kept / self.seen}
        pixels = {"pixels_kept": self.clear / self.pixels} if self.pixels else {}
        right = {"label_accuracy": self.right / self.judged} if self.judged else {}
        return images | pixels | right


def _padded(
    labels: NDArray[np.uint8], inconsistent: NDArray[np.bool_], size: tuple[int, ...], space: str
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return labels and masks (n, H, W) in the size of the packed arrays."""
    edges = ((0, 0), *((0, most - n) for most, n in zip(size, labels.shape[1:], strict=True)))
    nothing = 0 if space == "multilabel" else IGNORED
    return np.pad(labels, edges, constant_values=nothing), np.pad(inconsistent, edges)


def write_samples(
    folder: Path,
    images: Tensor,
    truth: NDArray[np.uint8],
    known: NDArray[np.bool_],
    predictions: Tensor,
    batch: MaskedBatch,
    meta: Mapping[str, Any],
    first: int = 0,
) -> None:
    """Write the first images as strips, as far as they are in a batch that begins with ``first``.

    A strip shows the image, its true label if one is known (here only), what each teacher says, the
    inconsistency mask in white, and the image and label that a student gets.
    """
    space, outputs = meta["space"], meta["outputs"]
    disputed = consensus(predictions, space).inconsistent.cpu().numpy()
    blanked = batch.images.movedim(1, -1).cpu().numpy()
    for i in range(min(SAMPLES - first, len(images))):
        said = [*predictions[:, i].cpu().numpy(), batch.labels[i].cpu().numpy()]
        said = [truth[i], *said] if known[i] else said
        coloured = [colour(each, space, outputs) for each in said]
        mask = as_rgb(disputed[i, ..., None].astype(np.uint8) * 255)
        panels = [as_rgb(images[i].numpy()), *coloured[:-1], mask, as_rgb(blanked[i]), coloured[-1]]
        write_png(folder / f"labels-{first + i}.png", strip(panels))


def _refuse_impossible(config: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    if len(meta["labelled"]) == len(meta["names"]["train"]):
        raise ImBenchError(
            f"data set {meta['name']!r} has no unlabelled images: all {len(meta['labelled'])} "
            "training images are labelled; choose a smaller `labelled` share"
        )
    if config.get("blocked_label") == "ignored" and meta["space"] == "multilabel":
        raise ImBenchError(
            "blocked_label: ignored does not exist for multi-label data, whose label bytes have no "
            "value for it: use blocked_label: zero"
        )
