"""The ``pseudo-label`` stage: the best candidates label all images whose labels are hidden.

Its config:

- ``teachers``: how many of the candidates label, the best by validation;
- ``mode``: ``im`` (consensus, and the inconsistency mask) or ``ensemble`` (the plain ensemble: for
  binary tasks where all agree, otherwise the mean probability);
- with ``im`` the fields of :class:`im_bench.methods.inconsistency_masks.InconsistencyMasks`.

It leaves ``indices.npy`` (int64 (n,): the kept images among the training images), ``labels.npy``
(uint8 (n, H, W)), ``masks.npy`` (the inconsistency masks, bits packed along the width) and
``pseudo.json`` (whether a student sees blanked images). The images themselves are not written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from im_bench.data.arrays import read_arrays, unlabelled_indices
from im_bench.data.pictures import picture_strip, save_picture
from im_bench.errors import ImBenchError
from im_bench.evaluation.cells import redraw_position_bits
from im_bench.files import atomic_path, write_json
from im_bench.masks import (
    MaskedBatch,
    MaskOptions,
    consensus,
    inconsistency_masked,
    mean_ensemble,
    unanimous_ensemble,
)
from im_bench.runner.job import Job, StageInterrupted
from im_bench.stages.selection import best_by_validation
from im_bench.training.inference import load_model, pick_device

BATCH = 64
SAMPLES = 8


def mask_options(config: Mapping[str, Any], meta: Mapping[str, Any]) -> MaskOptions:
    """Return the options for the masks, with the original's choices filled in per label space."""
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
        growing_bits=(1 << cells["alive"]) | (1 << cells["dead"]) if cells else 0xFF,
    )


def run(job: Job) -> dict[str, Any]:
    """Label the unlabelled training images; see the module for what is left."""
    data = job.inputs["data"][0]
    arrays = read_arrays(data)
    meta = arrays.meta
    if job.config.get("blocked_label") == "ignored" and meta["space"] == "multilabel":
        raise ImBenchError(
            "blocked_label: ignored does not exist for multi-label data, whose label bytes have no "
            "ignored value: use blocked_label: zero"
        )
    candidates, wanted = job.inputs["candidates"], job.config["teachers"]
    folders = best_by_validation(candidates, meta["metric"], wanted)
    device = pick_device(job.settings.device)
    teachers = [load_model(folder, data, device) for folder in folders]
    indices = unlabelled_indices(meta)
    kept: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    clear_pixels = right_pixels = pixels = 0
    for done, rows in _chunks(indices):
        if job.stop_requested:
            raise StageInterrupted
        images = torch.from_numpy(arrays.images("train")[rows]).to(device)
        batch, predictions = label(images, teachers, job.config, meta)
        keep = batch.keep.cpu().numpy()
        kept.append(rows[keep])
        labels.append(batch.labels.cpu().numpy()[keep])
        masks.append(batch.inconsistent.cpu().numpy()[keep])
        truth = arrays.labels("train")[rows][keep]
        clear = ~masks[-1]
        clear_pixels += int(clear.sum())
        right_pixels += int((clear & (labels[-1] == truth)).sum())
        pixels += clear.size
        if done == 0:
            _write_samples(job.folder / "samples", images, predictions, batch, meta)
        job.progress(done + len(rows), len(indices))
    all_labels = np.concatenate(labels)
    _save(job.folder / "indices.npy", np.concatenate(kept))
    _save(job.folder / "labels.npy", all_labels)
    _save(job.folder / "masks.npy", np.packbits(np.concatenate(masks), axis=-1))
    write_json(job.folder / "pseudo.json", {"block_input": job.config.get("block_input", False)})
    return {
        "teachers": [folder.name for folder in folders],
        "unlabelled": len(indices),
        "images_kept": len(all_labels) / len(indices) if len(indices) else 0.0,
        "pixels_kept": clear_pixels / pixels if pixels else 0.0,
        "label_accuracy": right_pixels / clear_pixels if clear_pixels else 0.0,
    }


def label(
    images: Tensor, teachers: list[Any], config: Mapping[str, Any], meta: Mapping[str, Any]
) -> tuple[MaskedBatch, Tensor]:
    """Label a batch.

    Args:
        images: uint8 (B, H, W, C) on the teachers' device.
        teachers: Segmentors in evaluation mode.
        config: The stage's config.
        meta: The data set's ``meta.json``.

    Returns:
        The labels, masks and kept images, and the teachers' label bytes (K, B, H, W).
    """
    space = teachers[0].label_space
    probabilities = [teacher.probabilities(images) for teacher in teachers]
    predictions = torch.stack([space.discretise(p) for p in probabilities])
    cells = meta.get("cells")
    relabel = partial(redraw_position_bits, cells=cells) if cells else None
    as_channels = images.movedim(-1, 1)
    if config["mode"] == "im":
        options = mask_options(config, meta)
        return (
            inconsistency_masked(as_channels, predictions, space.kind, options, relabel),
            predictions,
        )
    if space.kind == "binary":
        labels = unanimous_ensemble(predictions, space.kind)
    else:
        labels = mean_ensemble(torch.stack(probabilities), space.kind)
    inconsistent = consensus(predictions, space.kind).inconsistent
    everything = MaskedBatch(
        images=as_channels,
        labels=relabel(labels) if relabel else labels,
        inconsistent=torch.zeros_like(inconsistent),
        keep=torch.ones(len(labels), dtype=torch.bool, device=labels.device),
        inconsistent_sizes=inconsistent.sum((1, 2)),
        foreground_sizes=(labels != 0).sum((1, 2)),
    )
    return everything, predictions


def _chunks(indices: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(indices), BATCH):
        yield start, indices[start : start + BATCH]


def _save(path: Path, array: np.ndarray) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _write_samples(
    folder: Path, images: Tensor, predictions: Tensor, batch: MaskedBatch, meta: Mapping[str, Any]
) -> None:
    """Show image, what each teacher says, the inconsistency mask, and what a student gets."""
    disputed = consensus(predictions, meta["space"]).inconsistent.cpu().numpy()
    blanked = batch.images.movedim(1, -1).cpu().numpy()
    for i in range(min(SAMPLES, len(images))):
        strip = picture_strip(
            images[i].cpu().numpy(),
            [*predictions[:, i].cpu().numpy(), batch.labels[i].cpu().numpy()],
            meta,
            masks=[disputed[i]],
            images=[blanked[i]],
        )
        save_picture(folder / f"labels-{i}.png", strip)
