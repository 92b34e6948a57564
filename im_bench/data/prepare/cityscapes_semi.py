"""Cityscapes for semi-supervised learning: full size, 19 classes, the partitions of the papers.

The papers report on the official validation images, which are the test images here: nothing is
chosen on them. What is chosen among, is validated on training images that are held out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import yaml

from im_bench.data.description import FILE_NAME, IGNORED
from im_bench.data.fingerprint import MANIFEST
from im_bench.data.partitions import Partition, load_partitions
from im_bench.data.prepare import cityscapes
from im_bench.data.prepare.disk import explained_write_errors
from im_bench.data.prepare.manifest import LABELLED
from im_bench.data.prepare.pipeline import Progress, Request
from im_bench.data.prepare.pipeline import run as convert_all
from im_bench.data.prepare.recipe import SEED, Image, Piece, Samples, Size
from im_bench.data.splits import choose
from im_bench.errors import ImBenchError
from im_bench.files import read_json, sha256_json, write_json, write_text

HELD_OUT, TRAINING_IMAGES = 100, 2975
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


def hold_out(names: Iterable[str], labelled: Iterable[str]) -> list[str]:
    """Return the training images that are set aside for validation: 100 of 2975, or their share.

    They are drawn among images that no partition labels, so that every labelled list is whole.

    Args:
        names: Of all training images.
        labelled: Of those that a partition labels.

    Raises:
        ImBenchError: There are too few images.
    """
    names = list(names)
    count = max(1, round(len(names) * HELD_OUT / TRAINING_IMAGES))
    free = set(names).difference(labelled)
    if len(free) < count:
        raise ImBenchError(
            f"{RECIPE.name}: {len(names)} training images are too few to hold out {count} for "
            "validation: give more images"
        )
    return choose(free, count, SEED)


def draw_partitions(train: Iterable[str], held_out: Iterable[str]) -> list[Partition]:
    """Return nested partitions of images of which the official ones know nothing.

    Args:
        train: Names of the training images, some of which are labelled.
        held_out: Names of those that are held out, which are not.
    """
    train, held_out = sorted(train), set(held_out)
    partitions = []
    for share, divisor in SHARES.items():
        labelled = choose(train, max(1, len(train) // divisor), SEED)
        rest = sorted({*train, *held_out}.difference(labelled))
        partitions.append(Partition("drawn", share, tuple(labelled), tuple(rest)))
    return partitions


def run(
    request: Request,
    folders: Iterable[Path],
    cache: Path,
    threads: int,
    progress: Progress | None,
) -> Path:
    """Prepare the data set and write its partitions.

    The official partitions belong to the whole data set; where part of it is accepted
    (``allow_partial``), partitions of the same shares are drawn, and are called ``drawn``.

    Args:
        request: What to prepare from where.
        folders: Where the original lists of the partitions may lie.
        cache: Where downloaded lists are kept.
        threads: Images converted at a time.
        progress: As for all data sets.

    Returns:
        The folder of the data set.

    Raises:
        ImBenchError: As for all data sets, or the lists cannot be had.
    """
    # First of all, lest a missing list be found out after hours of work.
    partitions = [] if request.allow_partial else load_partitions(cache, folders)
    labelled = {_stem(name) for each in partitions for name in each.labelled}
    divided = replace(request.recipe, divide=partial(_divide, labelled=labelled))
    folder = convert_all(replace(request, recipe=divided), threads, progress)
    held_out = _names(folder, "val")
    partitions = partitions or draw_partitions(_names(folder, "train"), held_out)
    with explained_write_errors(folder):
        _write_lists(folder, partitions, held_out)
    return folder


def _divide(raw: Samples, labelled: Iterable[str]) -> Samples:
    held_out = set(hold_out((sample.name for sample in raw["train"]), labelled))
    return {
        "train": [sample for sample in raw["train"] if sample.name not in held_out],
        "val": [sample for sample in raw["train"] if sample.name in held_out],
        "test": raw["val"],
    }


def _names(folder: Path, split: str) -> list[str]:
    return sorted(path.stem for path in (folder / "images" / split).glob("*.png"))


def _stem(name: str) -> str:
    return PurePosixPath(name).name


def _write_lists(folder: Path, partitions: Sequence[Partition], held_out: Sequence[str]) -> None:
    """Write who is labelled, for the harness and for MMSegmentation, and record it.

    The manifest forgets what is about to change before it changes: an interrupted preparation
    finds nothing that contradicts it, and does this again.
    """
    manifest = read_json(folder / MANIFEST)
    fields = yaml.safe_load((folder / FILE_NAME).read_text(encoding="utf-8"))
    texts: dict[str, str] = {}
    for partition in partitions:
        texts |= partition_files(partition, fields, set(held_out))
    default = next((each for each in partitions if each.name == DEFAULT), partitions[0])
    texts[FILE_NAME] = texts[f"{default.name}.yaml"]

    files = {name: e for name, e in manifest["files"].items() if name not in {*texts, LABELLED}}
    write_json(folder / MANIFEST, {**manifest, "files": files})
    (folder / LABELLED).unlink(missing_ok=True)
    for name, text in texts.items():
        write_text(folder / name, text)
        content = text.encode()
        files[name] = [len(content), hashlib.sha256(content).hexdigest()]
    files = dict(sorted(files.items()))
    write_json(
        folder / MANIFEST,
        {
            **manifest,
            "fingerprint": sha256_json([[name, digest] for name, (_, digest) in files.items()]),
            "counts": {**manifest["counts"], "labelled": len(default.labelled)},
            "files": files,
        },
    )


def partition_files(
    partition: Partition, fields: Mapping[str, object], held_out: Container[str]
) -> dict[str, str]:
    """Return the files that a partition needs, by name.

    Args:
        partition: The partition.
        fields: The description of the data set.
        held_out: Names of the images that are for validation.
    """
    labelled = [_stem(name) for name in partition.labelled]
    unlabelled = [_stem(name) for name in partition.unlabelled]
    file, lists = f"labelled-{partition.name}.txt", f"lists/{partition.name}"
    where = {name: "val" if name in held_out else "train" for name in (*labelled, *unlabelled)}
    return {
        file: _lines(labelled),
        f"{partition.name}.yaml": _description({**fields, "labelled": file}),
        f"{lists}/labelled.txt": _lines(f"train/{name}" for name in labelled),
        f"{lists}/unlabelled.txt": _lines(
            f"train/{name}" for name in unlabelled if where[name] == "train"
        ),
        f"{lists}/unlabelled-and-val.txt": _lines(f"{where[name]}/{name}" for name in unlabelled),
    }


def _lines(names: Iterable[str]) -> str:
    return "".join(f"{name}\n" for name in names)


def _description(fields: Mapping[str, object]) -> str:
    head = f"# {RECIPE.title}; made by im-bench data prepare {RECIPE.name}\n"
    return head + yaml.safe_dump(dict(fields), sort_keys=False, width=100, default_flow_style=None)


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
)
