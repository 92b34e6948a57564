"""Cityscapes for semi-supervised learning: full size, 19 classes, the partitions of the papers.

The papers report on the official validation images, which are the test images here: nothing is
chosen on them. What is chosen among, is validated on training images that are held out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from im_bench.data.description import IGNORED
from im_bench.data.partitions import load_partitions
from im_bench.data.prepare import cityscapes, partitioned
from im_bench.data.prepare.pipeline import Progress, Request
from im_bench.data.prepare.recipe import Image, Piece, Size

TRAINING_IMAGES = 2975
SHARES: Mapping[str, int] = {"1-16": 16, "1-8": 8, "1-4": 4, "1-2": 2}
DEFAULT = "u2pl-1-16"
"""What ``dataset.yaml`` itself calls labelled."""

TRAIN_IDS: Mapping[str, int] = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
"""Label id of each class, in the order of the train ids (cityscapesScripts, ``labels.py``)."""

_TO_TRAIN_ID = np.full(256, IGNORED, np.uint8)
_TO_TRAIN_ID[list(TRAIN_IDS.values())] = np.arange(len(TRAIN_IDS))


def convert(
    image: Image,
    masks: Sequence[Image],
    split: str,
    size: Size | None,
    rng: np.random.Generator,
) -> Iterator[Piece]:
    """Keep the image as it is and turn label ids into train ids; the others become 255, ignored.

    With a size the image is reduced by area and the label takes the nearest pixel.
    """
    label = _TO_TRAIN_ID[masks[0]]
    if size is not None:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST_EXACT)
    yield Piece("", image, label)


def run(
    request: Request,
    folders: Iterable[Path],
    cache: Path,
    threads: int,
    progress: Progress | None,
) -> Path:
    """Prepare the data set and write its partitions; see :func:`partitioned.run`.

    Args:
        request: What to prepare from where.
        folders: Where the original lists of the partitions may lie.
        cache: Where downloaded lists are kept.
        threads: Images converted at a time.
        progress: As for all data sets.
    """
    # First of all, lest a missing list be found out after hours of work.
    partitions = [] if request.allow_partial else load_partitions(cache, folders)
    plan = partitioned.Plan(partitions, TRAINING_IMAGES, SHARES, DEFAULT)
    return partitioned.run(request, plan, threads, progress)


RECIPE = replace(
    cityscapes.RECIPE,
    name="cityscapes-semi",
    title="Cityscapes in full size with 19 classes and the partitions of the papers",
    description={
        "space": "multiclass",
        "channels": "rgb",
        "classes": list(TRAIN_IDS),
        "metric": "miou_dataset",
    },
    convert=convert,
    partitioned=run,
)
