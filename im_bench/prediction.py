"""Predictions of a cell's networks for image files.

Images pass through the networks as in the cell's evaluation, so that masks of the test images have
the scores of the table. What the masks hold is told in ``docs/predicting.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from im_bench.data.arrays import images_per_batch, read_meta, reading_of
from im_bench.data.description import VOID, label_values
from im_bench.data.image_files import read_image
from im_bench.data.listing import SUFFIXES
from im_bench.data.network_input import NetworkInput, network_input, size_of
from im_bench.data.pictures import colour_table, overlay, write_png
from im_bench.data.splits import listed
from im_bench.errors import ImBenchError
from im_bench.files import read_json, write_json
from im_bench.masks import consensus
from im_bench.models.segmentor import LabelSpaceSegmentor
from im_bench.runner.failures import Cause, explain
from im_bench.training.inference import load_model, predict_probabilities

LEGEND = "classes.json"
MASK, OVERLAY, INCONSISTENCY = "-mask.png", "-overlay.png", "-inconsistency.png"
BATCH = 32  # as in the evaluation: with other numbers of images, sums may be rounded otherwise

MaskSize = Literal["own", "suite"]


@dataclass(frozen=True)
class Prediction:
    """What was written for one image.

    Attributes:
        image: The image.
        mask: Label bytes as a grey PNG.
        overlay: The image with the labels in colour.
        inconsistency: White where the ensemble disagrees, or None if it is a single network.
        inconsistent: Share of pixels where it does, in 0..1.
    """

    image: Path
    mask: Path
    overlay: Path
    inconsistency: Path | None
    inconsistent: float


def images_in(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Return the images that files and folders stand for, and what was left out in folders.

    Of a folder these are the image files in it, by name; its sub-folders are left out, as in a data
    set. A file that is named stands for itself. What is meant twice is returned once.

    Raises:
        ImBenchError: A path does not exist, or a folder has no images.
    """
    images: dict[Path, Path] = {}
    left_out: list[Path] = []
    for path in paths:
        if path.is_dir():
            visible = [each for each in path.iterdir() if not each.name.startswith(".")]
            visible.sort(key=lambda each: (each.stem, each.suffix))
            found = [each for each in visible if _is_image(each)]
            rest = [each for each in visible if not _is_image(each)]
            if not found:
                holds = f"; it holds {listed([each.name for each in rest])}" if rest else ""
                raise ImBenchError(
                    f"{path}: has no images ({', '.join(sorted(SUFFIXES))}){holds}: name a folder "
                    "that has some, or the files themselves"
                )
            left_out += rest
        elif path.exists():
            found = [path]
        else:
            raise ImBenchError(f"{path}: does not exist: correct the name")
        for image in found:
            images.setdefault(image.resolve(), image)
    return list(images.values()), left_out


def predict_files(
    images: Sequence[Path],
    trainings: Sequence[Path],
    data_dir: Path,
    out: Path,
    device: str = "auto",
    size: MaskSize = "own",
    overwrite: bool = False,
) -> Iterator[Prediction | ImBenchError]:
    """Predict images and write masks, overlays, the ensemble's inconsistency masks and a legend.

    Args:
        images: Image files of any size, with different stems.
        trainings: Folders of train stages: the network whose labels are written, then the others
            of the ensemble.
        data_dir: The folder ``arrays`` of the data stage that they were trained on.
        out: Receives ``<stem>-mask.png``, ``<stem>-overlay.png``, ``<stem>-inconsistency.png`` and
            ``classes.json``.
        device: A torch device, or ``auto``.
        size: Of what is written: of each image its ``own``, or the size in which the networks of
            the ``suite`` take it, in which they are scored.
        overwrite: Whether files may be replaced.

    Yields:
        What was written for each image, in order, or why it was not predicted.

    Raises:
        ImBenchError: Two images would be written to the same files, or files are there already.
    """
    meta = read_meta(data_dir)
    legend = {**class_legend(meta), "size": size, "networks": [each.name for each in trainings]}
    _refuse_collisions(images, out, legend, overwrite)
    models = [load_model(folder, data_dir, device) for folder in trainings]
    write_json(out / LEGEND, legend)
    for batch in _batches(images, meta):
        if isinstance(batch, ImBenchError):
            yield batch
        else:
            yield from _predict_batch(batch, models, meta, out, size)


def class_legend(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the values of predicted masks mean.

    Args:
        meta: The packed data set's ``meta.json``.

    Returns:
        ``space``, ``encoding`` and ``reserve_zero`` as in a description of the masks as data, and
        ``classes`` with the ``value``, ``name`` and ``colour`` (RGB, of overlays) of each. Values
        of multi-label classes are bits, which are added up where several classes are present.
    """
    space = meta["space"]
    colours = colour_table(space, meta["outputs"])
    return {
        "space": space,
        "encoding": "labels",
        "reserve_zero": space == "multiclass" and meta["classes"][0] == VOID,
        "classes": [
            {"value": value, "name": name, "colour": colours[value].tolist()}
            for value, name in label_values(space, meta["classes"]).items()
        ],
    }


Batch = list[tuple[Path, NDArray[np.uint8], NetworkInput]]
"""Images of one size for the networks: file, the image itself, and what the networks take."""


def _batches(images: Iterable[Path], meta: Mapping[str, Any]) -> Iterator[Batch | ImBenchError]:
    """Give images as the evaluation of the cell does, and errors of those that cannot be read."""
    batch: Batch = []
    for path in images:
        try:
            channels: Literal["rgb", "grey"] = "rgb" if meta["channels"] == 3 else "grey"
            image = read_image(path, channels, reading_of(meta))
        except ImBenchError as error:
            if batch:
                yield batch
                batch = []
            yield error
            continue
        given = network_input(image, meta)
        size = size_of(given.pixels)
        full = len(batch) == images_per_batch({**meta, "size": size}, BATCH)
        if batch and (full or size_of(batch[0][2].pixels) != size):
            yield batch
            batch = []
        batch.append((path, image, given))
    if batch:
        yield batch


def _predict_batch(
    batch: Batch,
    models: Sequence[LabelSpaceSegmentor],
    meta: Mapping[str, Any],
    out: Path,
    size: MaskSize,
) -> Iterator[Prediction | ImBenchError]:
    pixels = np.stack([given.pixels for _, _, given in batch])
    try:
        said = torch.stack(
            [
                model.space.discretise(next(predict_probabilities(model, pixels, len(pixels))))
                for model in models
            ]
        )
    except (RuntimeError, MemoryError) as error:
        if explain(error, out).cause is not Cause.MEMORY:
            raise
        for path, _, given in batch:
            width, height = size_of(given.pixels)
            yield ImBenchError(
                f"{path}: {width}x{height} pixels need more memory than there is: cut the image "
                "into tiles, or try --device cpu"
            )
        return
    labels = said[0].cpu().numpy()
    inconsistent = consensus(said, meta["space"]).inconsistent.byte().cpu().numpy()
    for (path, image, given), label, disputed in zip(batch, labels, inconsistent, strict=True):
        if size == "own":
            label, disputed = given.in_own_size(label), given.in_own_size(disputed)
        else:
            image = given.pixels
        mask, laid_over, inconsistency = (
            out / f"{path.stem}{ending}" for ending in (MASK, OVERLAY, INCONSISTENCY)
        )
        write_png(mask, label)
        write_png(laid_over, overlay(image, label, meta["space"], meta["outputs"]))
        ensemble = len(models) > 1
        if ensemble:
            write_png(inconsistency, disputed * 255)
        yield Prediction(
            path, mask, laid_over, inconsistency if ensemble else None, float(disputed.mean())
        )


def _refuse_collisions(
    images: Sequence[Path], out: Path, legend: Mapping[str, Any], overwrite: bool
) -> None:
    seen: dict[str, Path] = {}
    for image in images:
        if image.stem in seen:
            raise ImBenchError(
                f"{seen[image.stem]} and {image} would be written to the same files: rename one, "
                "or predict them into different folders"
            )
        seen[image.stem] = image
    if overwrite:
        return
    targets = [out / f"{stem}{end}" for stem in seen for end in (MASK, OVERLAY, INCONSISTENCY)]
    there = [each.name for each in targets if each.exists()]
    if there:
        raise ImBenchError(
            f"{out}: holds {listed(there)} already: choose another folder with --to, or replace "
            "them with --overwrite"
        )
    try:
        other = read_json(out / LEGEND) != legend
    except FileNotFoundError:
        return
    except ValueError:
        other = True
    if other:
        raise ImBenchError(
            f"{out / LEGEND}: belongs to masks of other networks or another size: choose another "
            "folder with --to, or replace it with --overwrite"
        )


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()
