"""Pseudo-labels of frozen teachers, made once and kept as label maps.

The folder holds ``manifest.json``, which says whose labels they are, and one label map per image
(:mod:`im_bench.data.label_maps`), which goes through a pipeline like any annotation. A label map
names the content of its image, so that an image that has changed is labelled anew.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mmcv.transforms
import numpy as np
import torch
from mmengine.dist import barrier, get_dist_info
from numpy.typing import NDArray
from torch import Tensor, nn

from im_bench.data.fingerprint import file_hashes
from im_bench.data.label_maps import UNDECIDED, labelled_content, write_label_map
from im_bench.data.transforms import transforms_of
from im_bench.errors import ImBenchError
from im_bench.evaluation.windows import WindowOptions
from im_bench.files import read_json, sha256_json, write_json
from im_bench.masks import consensus
from im_bench.plugin.masking import TeacherMasks
from im_bench.plugin.networks import Student
from im_bench.plugin.teachers import CheckpointTeachers
from im_bench.plugin.windowed import Windowed

_FORMAT = 3
_HASHES = "images.json"  # of the images, so that they are not read each time
_REPORT_EVERY = 100

Pixels = NDArray[np.uint8]


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
        elif _read(manifest) != maker:
            raise ImBenchError(
                f"the pseudo-labels in {folder} were made by other teachers, by another version, "
                "or in other windows: name another cache_dir, or remove the folder"
            )

    def outdated(self, hashes: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """Return the image files without pseudo-labels, and those that have changed since.

        Args:
            hashes: The SHA-256 of each image file.
        """
        made = {image: labelled_content(self._folder, image) for image in hashes}
        missing = [image for image, content in made.items() if content is None]
        changed = [image for image, content in made.items() if content not in (None, hashes[image])]
        return missing, changed

    def write(self, image: str, labels: Pixels, content: str) -> None:
        """Keep the labels (H, W) of an image file, whose SHA-256 is ``content``."""
        write_label_map(self._folder, image, labels, content)


def prepare_cache(
    folder: Path,
    ensemble: CheckpointTeachers,
    masks: TeacherMasks,
    student: Student,
    images: Sequence[str],
    read: Callable[[str], Pixels],
    logger: logging.Logger,
    windows: WindowOptions | None = None,
) -> None:
    """Make the pseudo-labels that a folder lacks; each process of a training makes its share.

    Images are predicted at their own size. What was made before an interruption is not made again,
    unless the image has another content now.
    The ensemble is not for training afterwards: its teachers predict in windows.

    Args:
        folder: Need not exist.
        ensemble: The teachers.
        masks: Labels raw images with them.
        student: Where the teachers are, and what they know.
        images: All unlabelled image files.
        read: Gives the pixels (H, W, C) of one; see :func:`image_reader`.
        logger: Is told how far it is.
        windows: How images are passed through the teachers; None: as each is evaluated.

    Raises:
        ImBenchError: The folder holds labels of other teachers, or the labels leave no value for
            "undecided".
    """
    if student.space == "multilabel" or student.outputs > UNDECIDED:
        raise ImBenchError(
            f"pseudo-labels cannot be cached for multi-label data, nor for more than {UNDECIDED} "
            "classes: omit cache_dir"
        )
    maker = _maker(ensemble, student)
    for teacher, said in zip(ensemble.teachers, maker["teachers"], strict=True):
        teacher.network = Windowed(teacher.network, student.label_space, windows)
        said["windows"] = teacher.network.description
    rank, processes = get_dist_info()
    paths = [Path(image) for image in images]
    if rank == 0:
        PseudoLabelCache(folder, maker)  # writes the manifest
        file_hashes(paths, folder / _HASHES)
    barrier()
    cache = PseudoLabelCache(folder, maker)
    known = file_hashes(paths, folder / _HASHES)
    hashes = {image: known[str(path)] for image, path in zip(images, paths, strict=True)}
    missing, changed = cache.outdated(hashes)
    barrier()  # all have looked before anyone writes
    if changed:
        logger.warning(
            f"{len(changed)} of {len(images)} images have changed since their pseudo-labels were "
            f"made ({changed[0]}{', ...' if len(changed) > 1 else ''}): they are labelled anew"
        )
    todo = [*missing, *changed]
    if todo:
        logger.info(f"pseudo-labels of {len(todo)} of {len(images)} images go to {folder}")
    for count, image in enumerate(todo[rank::processes], start=1):
        cache.write(image, _labels(read(image), masks, student), hashes[image])
        if count % _REPORT_EVERY == 0:
            logger.info(f"pseudo-labels: {count * processes} of {len(todo)}")
    barrier()


def image_reader(dataset: Any) -> Callable[[str], Pixels]:
    """Return what reads an image file as the pipeline of a data set of MMSegmentation does.

    It gives the pixels (H, W, C), with the channels in the order of the pipeline's loader.
    """
    kind = mmcv.transforms.LoadImageFromFile
    loaders = [step for step in transforms_of(dataset) if isinstance(step, kind)]
    loader = loaders[0] if loaders else kind()

    def read(image: str) -> Pixels:
        pixels: Pixels = loader({"img_path": image})["img"]
        return pixels

    return read


def _read(manifest: Path) -> Any:
    try:
        return read_json(manifest)
    except ValueError as error:
        raise ImBenchError(
            f"{manifest} is damaged ({error}), so that nobody knows whose pseudo-labels the folder "
            "holds: remove the folder, or name another cache_dir"
        ) from error


def _labels(pixels: Pixels, masks: TeacherMasks, student: Student) -> Pixels:
    images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    predictions = masks.raw_labels(images.to(student.device))
    agreed, inconsistent = consensus(predictions, student.space)
    labels: Pixels = agreed.masked_fill(inconsistent, UNDECIDED)[0].cpu().numpy()
    return labels


def _maker(ensemble: CheckpointTeachers, student: Student) -> dict[str, Any]:
    def numbers(tensor: Tensor) -> list[float]:
        return [round(float(number), 6) for number in tensor.flatten()]

    teachers = []
    for digest, part, teacher in zip(
        ensemble.hashes, ensemble.parts, ensemble.teachers, strict=True
    ):
        normalisation = teacher.normalisation or student.normalisation
        teachers.append(
            {
                "checkpoint": digest,
                "part": part,
                "network": type(teacher.network).__name__,
                "settings": _settings(teacher.network),
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


def _settings(network: nn.Module) -> str:
    """Return a hash of what decides what a network computes beside its weights, such as strides."""
    settings = {
        name: _numbers(layer)
        for name, layer in network.named_modules()
        if "loss" not in name and "data_preprocessor" not in name  # whose colours are told
    }
    return sha256_json(settings)


def _numbers(layer: nn.Module) -> dict[str, Any]:
    """Return the attributes of a layer that are numbers."""
    pointwise = isinstance(layer, nn.Conv2d) and set(layer.kernel_size) == {1}
    idle = {"training", "dilation"} if pointwise else {"training"}
    return {
        name: value
        for name, value in vars(layer).items()
        if not name.startswith("_") and name not in idle and _plain(value)
    }


def _plain(value: Any) -> bool:
    """Return whether an attribute is a number, or some: names and paths compute nothing."""
    if isinstance(value, (list, tuple)):
        return all(map(_plain, value))
    return isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value))
