"""Data sets with published partitions: held-out images, and lists for both worlds."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import yaml

from im_bench.data.description import FILE_NAME
from im_bench.data.fingerprint import MANIFEST
from im_bench.data.partitions import Partition
from im_bench.data.prepare.disk import explained_write_errors
from im_bench.data.prepare.manifest import LABELLED
from im_bench.data.prepare.pipeline import Progress, Request
from im_bench.data.prepare.pipeline import run as convert_all
from im_bench.data.prepare.recipe import SEED, Recipe, Samples
from im_bench.data.splits import choose
from im_bench.errors import ImBenchError
from im_bench.files import read_json, sha256_json, write_json, write_text

HELD_OUT = 100
OVERLAPS = "overlaps"
"""Key of the manifest: by partition, which images are both labelled and unlabelled."""


@dataclass(frozen=True)
class Plan:
    """Which images are labelled, validated on and tested on.

    Attributes:
        partitions: The published ones; none where part of the data set is accepted.
        training_images: Of the whole data set, of which 100 are held out for validation.
        shares: Partitions to draw where there are no published ones: name, and one in how many.
        default: The partition of which ``dataset.yaml`` itself speaks.
    """

    partitions: Sequence[Partition]
    training_images: int
    shares: Mapping[str, int]
    default: str


def hold_out(names: Iterable[str], labelled: Iterable[str], whole: int) -> list[str]:
    """Return the training images that are set aside for validation: 100 of all, or their share.

    They are drawn among images that no partition labels, so that every labelled list is whole.

    Args:
        names: Of the training images.
        labelled: Of those that a partition labels.
        whole: How many the whole data set has.

    Raises:
        ImBenchError: There are too few images.
    """
    names = list(names)
    count = max(1, round(len(names) * HELD_OUT / whole))
    free = set(names).difference(labelled)
    if len(free) < count:
        raise ImBenchError(
            f"{len(names)} training images are too few to hold out {count} for validation: give "
            "more images"
        )
    return choose(free, count, SEED)


def draw_partitions(
    train: Iterable[str], held_out: Iterable[str], shares: Mapping[str, int]
) -> list[Partition]:
    """Return nested partitions of images of which the official ones know nothing.

    Args:
        train: Names of the training images, some of which are labelled.
        held_out: Names of those that are held out, which are not.
        shares: Name of each partition, and one in how many images it labels.
    """
    train, held_out = sorted(train), set(held_out)
    partitions = []
    for share, divisor in shares.items():
        labelled = choose(train, max(1, len(train) // divisor), SEED)
        rest = sorted({*train, *held_out}.difference(labelled))
        partitions.append(Partition("drawn", share, tuple(labelled), tuple(rest)))
    return partitions


def run(request: Request, plan: Plan, threads: int, progress: Progress | None) -> Path:
    """Prepare the data set and write its partitions.

    The official partitions belong to the whole data set; where part of it is accepted
    (``allow_partial``), partitions of the same shares are drawn, and are called ``drawn``.

    Args:
        request: What to prepare from where; its official splits are ``train`` and ``val``.
        plan: The partitions.
        threads: Images converted at a time.
        progress: As for all data sets.

    Returns:
        The folder of the data set. What its official validation images are is its test split.

    Raises:
        ImBenchError: As for all data sets.
    """
    labelled = {_stem(name) for each in plan.partitions for name in each.labelled}
    divided = replace(
        request.recipe, divide=partial(_divide, labelled=labelled, whole=plan.training_images)
    )
    folder = convert_all(replace(request, recipe=divided), threads, progress)
    held_out = _names(folder, "val")
    partitions = plan.partitions or draw_partitions(_names(folder, "train"), held_out, plan.shares)
    default = next((each for each in partitions if each.name == plan.default), partitions[0])
    with explained_write_errors(folder):
        _write_lists(folder, request.recipe, partitions, default, held_out)
    return folder


def _divide(raw: Samples, labelled: Iterable[str], whole: int) -> Samples:
    held_out = set(hold_out((sample.name for sample in raw["train"]), labelled, whole))
    return {
        "train": [sample for sample in raw["train"] if sample.name not in held_out],
        "val": [sample for sample in raw["train"] if sample.name in held_out],
        "test": raw["val"],
    }


def _names(folder: Path, split: str) -> list[str]:
    return sorted(path.stem for path in (folder / "images" / split).glob("*.png"))


def _stem(name: str) -> str:
    return PurePosixPath(name).name


def _write_lists(
    folder: Path,
    recipe: Recipe,
    partitions: Sequence[Partition],
    default: Partition,
    held_out: Sequence[str],
) -> None:
    """Write who is labelled, for the harness and for MMSegmentation, and record it.

    The manifest forgets what is about to change before it changes: an interrupted preparation
    finds nothing that contradicts it, and does this again.
    """
    manifest = read_json(folder / MANIFEST)
    fields = yaml.safe_load((folder / FILE_NAME).read_text(encoding="utf-8"))
    texts = {"lists/test.txt": _lines(f"test/{name}" for name in _names(folder, "test"))}
    for partition in partitions:
        texts |= partition_files(partition, fields, set(held_out), recipe)
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
            OVERLAPS: {each.name: each.overlap for each in partitions},
            "files": files,
        },
    )


def partition_files(
    partition: Partition,
    fields: Mapping[str, object],
    held_out: Container[str],
    recipe: Recipe,
) -> dict[str, str]:
    """Return the files that a partition needs, by name.

    Args:
        partition: The partition.
        fields: The description of the data set.
        held_out: Names of the images that are for validation.
        recipe: Of the data set.
    """
    labelled = [_stem(name) for name in partition.labelled]
    unlabelled = [_stem(name) for name in partition.unlabelled]
    file, lists = f"labelled-{partition.name}.txt", f"lists/{partition.name}"
    where = {name: "val" if name in held_out else "train" for name in (*labelled, *unlabelled)}
    return {
        file: _lines(labelled),
        f"{partition.name}.yaml": _description({**fields, "labelled": file}, recipe),
        f"{lists}/labelled.txt": _lines(f"train/{name}" for name in labelled),
        f"{lists}/unlabelled.txt": _lines(
            f"train/{name}" for name in unlabelled if where[name] == "train"
        ),
        f"{lists}/unlabelled-and-val.txt": _lines(f"{where[name]}/{name}" for name in unlabelled),
    }


def _lines(names: Iterable[str]) -> str:
    return "".join(f"{name}\n" for name in names)


def _description(fields: Mapping[str, object], recipe: Recipe) -> str:
    head = f"# {recipe.title}; made by im-bench data prepare {recipe.name}\n"
    return head + yaml.safe_dump(dict(fields), sort_keys=False, width=100, default_flow_style=None)
