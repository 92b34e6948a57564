"""What is wrong with a data set, all of it, in plain words."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from im_bench.data.description import BACKGROUND, IGNORED, SPLITS, DataDescription, Split
from im_bench.data.folder import DataFolder, require_same_size
from im_bench.data.image_files import WrongLabelError
from im_bench.data.image_headers import UnreadableImageError
from im_bench.data.listing import Item
from im_bench.data.splits import listed
from im_bench.errors import ImBenchError

ProblemKind = Literal[
    "layout",
    "missing mask",
    "missing image",
    "same name",
    "empty split",
    "unreadable",
    "wrong label",
    "other size",
    "two splits",
    "labelled",
    "lossy mask",
    "absent class",
]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: What sort of thing.
        where: The file or folder.
        sentence: What is wrong and what to do; it names the place.
        warning: It may be meant so.
    """

    kind: ProblemKind
    where: Path
    sentence: str
    warning: bool = False


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        problems: All of them, by file.
        counts: Number of images of each split.
        sizes: Number of images of each size (width, height).
        shares: The share of all pixels that each class covers, ignored ones under ``ignored``;
            multi-label shares overlap.
    """

    problems: tuple[Problem, ...]
    counts: dict[Split, int]
    sizes: dict[tuple[int, int], int]
    shares: dict[str, float]

    @property
    def ok(self) -> bool:
        """Whether there is nothing but warnings."""
        return all(problem.warning for problem in self.problems)


@dataclass(frozen=True)
class _Finding:
    """What opening one item told: problems, and where it could be read, its content."""

    problems: tuple[Problem, ...]
    size: tuple[int, int] | None = None
    digest: bytes | None = None
    histogram: NDArray[np.int64] | None = None


def check_folder(path: Path, threads: int | None = None) -> Report:
    """Open every file of a data set and tell all that is wrong with it.

    Args:
        path: The description, or the folder with a ``dataset.yaml``.
        threads: Images that are read at a time; by default one per core.

    Raises:
        ImBenchError: The description itself is wrong; wrong data are told in the report.
    """
    folder = DataFolder.load(path)
    try:
        root, pairs = folder.root, folder.pairs
    except ImBenchError as error:
        return Report((Problem("layout", folder.base, str(error)),), {}, {}, {})

    where = [(split, item) for split in SPLITS for item in pairs[split]]
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        findings = list(pool.map(lambda entry: _inspect(folder, entry[1]), where))

    sizes: Counter[tuple[int, int]] = Counter()
    histograms = {split: np.zeros(256, dtype=np.int64) for split in SPLITS}
    for (split, _), finding in zip(where, findings, strict=True):
        if finding.size is not None:
            sizes[finding.size] += 1
        if finding.histogram is not None:
            histograms[split] += finding.histogram
    problems = [
        *_unpaired(folder),
        *(
            Problem("empty split", root, f"{root}: {split} has no images")
            for split in SPLITS
            if not pairs[split]
        ),
        *(problem for finding in findings for problem in finding.problems),
        *_in_two_splits(where, findings),
        *_wrong_labelled_names(folder),
        *_lossy_masks(folder, where),
        *_absent_classes(folder, histograms["train"]),
    ]
    return Report(
        tuple(problems),
        {split: len(pairs[split]) for split in SPLITS},
        dict(sizes),
        _shares(folder.description, sum(histograms.values(), np.zeros(256, dtype=np.int64))),
    )


def _inspect(folder: DataFolder, item: Item) -> _Finding:
    problems: list[Problem] = []
    image = label = size = digest = histogram = None
    try:
        image = folder.read_image(item)
        size = (image.shape[1], image.shape[0])
        digest = hashlib.sha256(str(image.shape).encode() + image.tobytes()).digest()
    except UnreadableImageError as error:
        problems.append(Problem("unreadable", item.image, str(error)))
    try:
        label = folder.read_label(item)
        histogram = np.bincount(label.ravel(), minlength=256)
    except UnreadableImageError as error:
        problems.append(Problem("unreadable", item.masks[0], str(error)))
    except WrongLabelError as error:
        problems.append(Problem("wrong label", item.masks[0], str(error)))
    if image is not None and label is not None:
        try:
            require_same_size(item, image, label)
        except WrongLabelError as error:
            problems.append(Problem("other size", item.masks[0], str(error)))
    return _Finding(tuple(problems), size, digest, histogram)


def _unpaired(folder: DataFolder) -> Iterator[Problem]:
    for listing in folder.listings.values():
        for path in listing.images_without_mask:
            yield Problem("missing mask", path, f"{path}: has no mask: add it, or remove the image")
        for path in listing.masks_without_image:
            yield Problem(
                "missing image", path, f"{path}: has no image: add it, or remove the mask"
            )
        for path in listing.same_name:
            yield Problem(
                "same name", path, f"{path}: another file has the same name: rename one of them"
            )


def _in_two_splits(
    where: Sequence[tuple[Split, Item]], findings: Sequence[_Finding]
) -> Iterator[Problem]:
    first: dict[bytes, tuple[Split, Item]] = {}
    for (split, item), finding in zip(where, findings, strict=True):
        if finding.digest is None:
            continue
        other_split, other = first.setdefault(finding.digest, (split, item))
        if other_split != split:
            yield Problem(
                "two splits",
                item.image,
                f"{item.image}: is the same picture in {split} as {other.image} in {other_split}: "
                "remove one of them",
            )


def _wrong_labelled_names(folder: DataFolder) -> Iterator[Problem]:
    if folder.description.labelled is not None:
        try:
            folder.labelled_names()
        except ImBenchError as error:
            yield Problem("labelled", folder.base / folder.description.labelled, str(error))


def _lossy_masks(folder: DataFolder, where: Sequence[tuple[Split, Item]]) -> Iterator[Problem]:
    lossy = [
        mask for _, item in where for mask in item.masks if mask.suffix.lower() in (".jpg", ".jpeg")
    ]
    if lossy and folder.description.threshold == 0:
        yield Problem(
            "lossy mask",
            lossy[0].parent,
            f"{lossy[0].parent}: {len(lossy)} masks are JPEG, whose values are blurred at borders: "
            "save them as PNG, or give a threshold such as 127",
            warning=True,
        )


def _absent_classes(folder: DataFolder, train: NDArray[np.int64]) -> Iterator[Problem]:
    shares = _shares(folder.description, train)
    absent = [name for name in folder.description.classes if train.any() and not shares[name]]
    if absent:
        yield Problem(
            "absent class",
            folder.root,
            f"{folder.root}: no training image shows {listed(absent)}",
            warning=True,
        )


def _shares(description: DataDescription, histogram: NDArray[np.int64]) -> dict[str, float]:
    """Return each class's share of the pixels, from the counts of the label bytes."""
    total = int(histogram.sum()) or 1
    values = np.arange(256)
    names = description.class_names
    if description.space == "multilabel":
        counts = [histogram[(values >> bit & 1).astype(bool)].sum() for bit in range(len(names))]
        return {name: int(count) / total for name, count in zip(names, counts, strict=True)}
    if description.space == "binary":
        names = (BACKGROUND, *names)
    shares = {name: int(histogram[value]) / total for value, name in enumerate(names)}
    return {**shares, "ignored": int(histogram[IGNORED]) / total}
