"""Pascal VOC 2012 with the additional labels of SBD, and the partitions of the papers.

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
from im_bench.data.pascal_partitions import load_partitions, load_validation
from im_bench.data.prepare import partitioned
from im_bench.data.prepare.pipeline import Progress, Request
from im_bench.data.prepare.recipe import Archive, Image, Piece, RawSplit, Recipe, Size
from im_bench.errors import ImBenchError

TRAINING_IMAGES, VALIDATION_IMAGES = 10_582, 1449
SHARES: Mapping[str, int] = {"1-16": 16, "1-8": 8, "1-4": 4, "1-2": 2}
DEFAULT = "classic-92"
"""What ``dataset.yaml`` itself calls labelled."""

CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


def convert(
    image: Image,
    masks: Sequence[Image],
    split: str,
    size: Size | None,
    rng: np.random.Generator,
) -> Iterator[Piece]:
    """Keep image and label as they are; the edge of objects, 255, is ignored.

    With a size the image is reduced by area and the label takes the nearest pixel.

    Raises:
        ImBenchError: The mask has another value.
    """
    (label,) = masks
    strange = (label >= len(CLASSES)) & (label != IGNORED)
    if strange.any():
        raise ImBenchError(
            f"pascal: a mask holds {label[strange][0]}, which is no class: give the masks "
            "SegmentationClassAug as indices, not as grey values of colours"
        )
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

    The lists also say which images are for training and which for validation.

    Args:
        request: What to prepare from where.
        folders: Where the original lists of the partitions may lie.
        cache: Where downloaded lists are kept.
        threads: Images converted at a time.
        progress: As for all data sets.
    """
    folders = list(folders)
    partitions = load_partitions(cache, folders)
    names = {
        "train": frozenset({*partitions[0].labelled, *partitions[0].unlabelled}),
        "val": frozenset(load_validation(cache, folders)),
    }
    raw = {s: replace(each, names=names[s]) for s, each in request.recipe.raw.items()}
    listed = replace(request, recipe=replace(request.recipe, raw=raw))
    plan = partitioned.Plan(
        [] if request.allow_partial else partitions, TRAINING_IMAGES, SHARES, DEFAULT
    )
    return partitioned.run(listed, plan, threads, progress)


def _split(masks: str, count: int) -> RawSplit:
    name = r"(?P<name>\d{4}_\d{6})"
    return RawSplit(
        image=rf"(?:^|/)JPEGImages/{name}\.jpg$",
        masks=(rf"(?:^|/){masks}/{name}\.png$",),
        example="VOCdevkit/VOC2012/JPEGImages/2007_000032.jpg",
        count=count,
    )


RECIPE = Recipe(
    name="pascal",
    title="Pascal VOC 2012 with the labels of SBD and the partitions of the papers",
    home="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    # The checksum is that of torchvision; none is published for the archive of SBD's labels.
    archives=(
        Archive("VOCtrainval_11-May-2012.tar", "md5:6cd6e144f989b92b3379bac3b3de84fd"),
        Archive("SegmentationClassAug.zip"),
    ),
    raw={
        "train": _split("SegmentationClassAug", TRAINING_IMAGES),
        "val": _split("SegmentationClass", VALIDATION_IMAGES),
    },
    description={
        "space": "multiclass",
        "channels": "rgb",
        "classes": list(CLASSES),
        "metric": "miou_dataset",
    },
    convert=convert,
    index_masks=True,
    partitioned=run,
)
