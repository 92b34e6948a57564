"""What is wrong with a data set, all of it, in plain words."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from im_bench.data.description import BACKGROUND, IGNORED, SPLITS, DataDescription, Split
from im_bench.data.folder import DataFolder, require_same_size
from im_bench.data.image_files import Pixels, WrongLabelError
from im_bench.data.image_headers import UnreadableImageError
from im_bench.data.listing import Item
from im_bench.data.plausibility import count_classes
from im_bench.data.splits import listed
from im_bench.data.survey import Facts, Survey
from im_bench.errors import ImBenchError


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: What sort of thing, such as ``missing mask``.
        where: The file or folder.
        sentence: What is wrong and what to do; it names the place.
        warning: It may be meant so.
    """

    kind: str
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
            multi-label shares overlap. Nothing where no mask could be read.
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
    facts: Facts | None = None


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

    where = [
        (split, item)
        for split in SPLITS
        for item in (*pairs[split], *(folder.unmasked if split == "train" else ()))
    ]
    survey = Survey(folder.description)
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        findings = list(pool.map(lambda entry: _inspect(folder, survey, entry[1]), where))

    try:
        labelled = set(folder.labelled_names() or ())
    except ImBenchError:
        labelled = set()  # That is told below.
    sizes: Counter[tuple[int, int]] = Counter()
    counts = np.zeros(256, np.int64)
    for (split, item), finding in zip(where, findings, strict=True):
        if finding.size is not None:
            sizes[finding.size] += 1
        if finding.facts is not None:
            part: str | None = split
            if split == "train" and labelled:
                part = "labelled" if item.name in labelled else None
            survey.add(part, f"{split}/{item.name}", finding.facts)
            counts += 0 if finding.facts.labels is None else finding.facts.labels
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
        *(
            Problem(doubt.kind, root, doubt.sentence, warning=True)
            for doubt in folder.doubts()
            if doubt.kind == "left out"
        ),
        *(
            Problem(doubt.kind, root, f"{root}: {doubt.sentence}", warning=True)
            for doubt in survey.doubts()
        ),
    ]
    return Report(
        tuple(problems),
        {split: sum(one == split for one, _ in where) for split in SPLITS},
        dict(sizes),
        _shares(folder.description, counts),
    )


def grouped(problems: Sequence[Problem], shown: int = 4) -> list[Problem]:
    """Return one problem for all of one folder that differ in file and numbers only.

    Args:
        problems: In any order; groups come in the order of their first members.
        shown: So many files of a group are named.
    """
    groups: dict[tuple[str, bool, Path, str], list[Problem]] = {}
    for problem in problems:
        # Of the sentence only its sense: no paths, numbers and lists of numbers.
        sense = problem.sentence
        for known in re.findall(r"\S*/\S*", sense):
            sense = sense.replace(known, "")
        sense = re.sub(r"[\[\]\d(),x]+|pixels?|colours?|values?|and \d+ more|\s+", "", sense)
        where = problem.where if problem.where.is_dir() else problem.where.parent
        sense = problem.sentence if problem.where.is_dir() else sense
        groups.setdefault((problem.kind, problem.warning, where, sense), []).append(problem)
    return [
        one
        if len(same) == 1
        else replace(
            one,
            sentence=f"{one.sentence} (and {len(same) - 1} more such "
            f"file{'s' if len(same) > 2 else ''}: "
            f"{listed([each.where.name for each in same[1:]], shown)})",
        )
        for same in groups.values()
        for one in same[:1]
    ]


def _inspect(folder: DataFolder, survey: Survey, item: Item) -> _Finding:
    problems: list[Problem] = []
    stored: list[Pixels] = []
    image = label = size = digest = facts = None
    try:
        image = folder.read_image(item)
        size = (image.shape[1], image.shape[0])
        if image.min() != image.max():  # Pictures of nothing resemble each other.
            digest = hashlib.sha256(str(image.shape).encode() + image.tobytes()).digest()
    except UnreadableImageError as error:
        problems.append(Problem("unreadable", item.image, str(error)))
    if item.masks:
        try:
            label = folder.read_label(item, stored)
        except UnreadableImageError as error:
            problems.append(Problem("unreadable", item.masks[0], str(error)))
        except WrongLabelError as error:
            problems.append(Problem("wrong label", item.masks[0], str(error)))
    if image is not None and label is not None:
        try:
            require_same_size(item, image, label)
        except WrongLabelError as error:
            problems.append(Problem("other size", item.masks[0], str(error)))
    if image is not None and (label is not None or not item.masks):
        facts = survey.look(item, image, label, stored)
    return _Finding(tuple(problems), size, digest, facts)


def _unpaired(folder: DataFolder) -> Iterator[Problem]:
    for split, listing in folder.listings.items():
        unlabelled = {item.image for item in listing.without_mask}
        for path in listing.images_without_mask:
            if folder.may_lack_masks(split) and path in unlabelled:
                told = "has no mask and counts as unlabelled"
                yield Problem("missing mask", path, f"{path}: {told}", warning=True)
            else:
                told = "has no mask: add it, or remove the image"
                yield Problem("missing mask", path, f"{path}: {told}")
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
    """Tell of JPEG masks whose values cannot tell it: what is above 0 is told by its values."""
    if folder.description.encoding == "files" or folder.description.space == "binary":
        return
    suffixes = (".jpg", ".jpeg", ".jfif")
    lossy = [mask for _, item in where for mask in item.masks if mask.suffix.lower() in suffixes]
    if lossy:
        yield Problem(
            "lossy mask",
            lossy[0].parent,
            f"{lossy[0].parent}: {len(lossy)} masks are JPEG, whose values are blurred at borders: "
            "save them as PNG",
            warning=True,
        )


def _shares(description: DataDescription, counts: NDArray[np.int64]) -> dict[str, float]:
    """Return each class's share of the pixels, from the counts of the label bytes."""
    total = int(counts.sum())
    if not total:
        return {}
    multilabel, names = description.space == "multilabel", description.class_names
    if description.space == "binary":
        names = (BACKGROUND, *names)
    pixels = count_classes(counts, len(names), multilabel)
    shares = {name: int(count) / total for name, count in zip(names, pixels, strict=True)}
    return shares if multilabel else {**shares, "ignored": int(counts[IGNORED]) / total}
