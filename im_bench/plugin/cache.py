"""Pseudo-labels of frozen teachers, made once and kept as label maps.

The folder holds ``manifest.json``, which says whose labels they are, and one PNG per image:
class indices, 254 where the teachers disagree, 255 where nothing counts. The maps have the
image files' size and go through a pipeline like any annotation.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.dist import barrier, get_dist_info
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from im_bench.errors import ImBenchError
from im_bench.files import atomic_path, read_json, write_json
from im_bench.masks import consensus
from im_bench.plugin.masking import UNDECIDED, TeacherMasks
from im_bench.plugin.networks import Student
from im_bench.plugin.teachers import CheckpointTeachers

_FORMAT = 1
_REPORT_EVERY = 100


class PseudoLabelCache:
    """A folder of pseudo-labels of one ensemble.

    Args:
        folder: Need not exist.
        maker: What determines the labels; JSON values.

    Raises:
        ImBenchError: The folder holds labels of another maker.
    """

    def __init__(self, folder: Path, maker: dict[str, Any]) -> None:
        self._folder = folder
        manifest = folder / "manifest.json"
        if not manifest.is_file():
            write_json(manifest, maker)
        elif read_json(manifest) != maker:
            raise ImBenchError(
                f"the pseudo-labels in {folder} were made by other teachers: "
                "name another cache_dir, or remove the folder"
            )

    def missing(self, images: Sequence[str]) -> list[str]:
        """Return the image files without pseudo-labels."""
        return [image for image in images if not label_file(self._folder, image).is_file()]

    def write(self, image: str, labels: NDArray[np.uint8]) -> None:
        """Keep the labels (H, W) of an image file. A kill leaves the whole file or none."""
        path = label_file(self._folder, image)
        with atomic_path(path) as temporary:
            Image.fromarray(labels).save(temporary, format="PNG")


def label_file(folder: Path, image: str) -> Path:
    """Return where the pseudo-labels of an image file are, whatever folder it is in."""
    digest = hashlib.sha256(image.encode()).hexdigest()[:12]
    return folder / f"{Path(image).stem}-{digest}.png"


def prepare_cache(
    folder: Path,
    ensemble: CheckpointTeachers,
    masks: TeacherMasks,
    student: Student,
    images: Sequence[str],
    logger: logging.Logger,
) -> None:
    """Make the pseudo-labels that a folder lacks; each process of a training makes its share.

    Images are read as MMSegmentation reads them (BGR, 8 bit) and predicted whole, at their own
    size. What was made before an interruption is not made again.

    Args:
        folder: Need not exist.
        ensemble: The teachers.
        masks: Labels raw images with them.
        student: Where the teachers are, and what they know.
        images: All unlabelled image files.
        logger: Is told how far it is.

    Raises:
        ImBenchError: The folder holds labels of other teachers, or the labels are multi-label.
    """
    if student.space == "multilabel":
        raise ImBenchError("pseudo-labels cannot be cached for multi-label data: omit cache_dir")
    rank, processes = get_dist_info()
    maker = _maker(ensemble, student)
    if rank == 0:
        PseudoLabelCache(folder, maker)  # writes the manifest
    barrier()
    cache = PseudoLabelCache(folder, maker)
    missing = cache.missing(images)
    barrier()  # all have looked before anyone writes
    if missing:
        logger.info(f"pseudo-labels of {len(missing)} of {len(images)} images go to {folder}")
    for count, image in enumerate(missing[rank::processes], start=1):
        cache.write(image, _labels(image, masks, student))
        if count % _REPORT_EVERY == 0:
            logger.info(f"pseudo-labels: {count * processes} of {len(missing)}")
    barrier()


def _labels(image: str, masks: TeacherMasks, student: Student) -> NDArray[np.uint8]:
    pixels = torch.from_numpy(mmcv.imread(image)).permute(2, 0, 1)[None]
    predictions = masks.raw_labels(pixels.to(student.device))
    agreed, inconsistent = consensus(predictions, student.space)
    labels: NDArray[np.uint8] = agreed.masked_fill(inconsistent, UNDECIDED)[0].cpu().numpy()
    return labels


def _maker(ensemble: CheckpointTeachers, student: Student) -> dict[str, Any]:
    def numbers(tensor: Tensor) -> list[float]:
        return [round(float(number), 6) for number in tensor.flatten()]

    teachers = []
    for digest, teacher in zip(ensemble.hashes, ensemble.teachers, strict=True):
        normalisation = teacher.normalisation or student.normalisation
        teachers.append(
            {
                "checkpoint": digest,
                "network": type(teacher.network).__name__,
                "mean": numbers(normalisation.mean),
                "std": numbers(normalisation.std),
                "swapped": normalisation.swapped,
            }
        )
    return {
        "format": _FORMAT,
        "space": student.space,
        "outputs": student.outputs,
        "teachers": teachers,
    }
