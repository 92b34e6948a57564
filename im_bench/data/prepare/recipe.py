"""What a data set must say about itself to be prepared."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from im_bench.data.splits import choose
from im_bench.errors import ImBenchError

if TYPE_CHECKING:
    from im_bench.data.prepare.pipeline import Request

Image = npt.NDArray[np.uint8]
Size = tuple[int, int]
"""Width and height in pixels."""

SEED = 42
"""The seed of every split and crop (``SEED`` in the original implementation)."""


@dataclass(frozen=True)
class Archive:
    """One official file to download.

    Attributes:
        file: Its name.
        checksum: ``"sha256:…"`` or ``"md5:…"``, or None where none is known.
        url: Its address if it can be had without an account.
    """

    file: str
    checksum: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class RawSplit:
    """How one official split lies in the raw data.

    Attributes:
        image: Regular expression of an image's path; its group ``name`` names the image.
        masks: The same for the masks of an image, one expression per file.
        example: A path that ``image`` matches, shown when nothing is found.
        count: The official number of images, or None if it is not published.
        names: Of the images that belong to the split, where a list says so and not the paths.
    """

    image: str
    masks: tuple[str, ...]
    example: str
    count: int | None
    names: Collection[str] | None = None


class Sample(NamedTuple):
    """One raw image and its masks, as paths in the raw data."""

    name: str
    image: str
    masks: tuple[str, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the image and its masks."""
        return (self.image, *self.masks)


class Piece(NamedTuple):
    """One prepared image: ``suffix`` is appended to the raw image's name.

    ``image`` is ``(H, W, 3)`` in BGR order or ``(H, W)`` grey, ``label`` holds ``(H, W)`` label
    bytes.
    """

    suffix: str
    image: Image
    label: Image


Samples = Mapping[str, Sequence[Sample]]
Convert = Callable[
    [Image, Sequence[Image], str, "Size | None", np.random.Generator], Iterator[Piece]
]
"""``convert(image, masks, split, size, rng)`` yields the pieces of one raw image.

The image is ``(H, W, 3)`` uint8 in BGR order; ``size`` is None for the original's own size.
"""


Partitioned = Callable[
    ["Request", Sequence[Path], Path, int, "Callable[[int, int], None] | None"], Path
]


def _as_it_is(raw: Samples) -> Samples:
    return raw


@dataclass(frozen=True)
class Recipe:
    """The facts and the transformation of one official data set.

    Attributes:
        name: What ``im-bench data prepare`` calls it.
        title: Its full name.
        home: Where it is published.
        archives: The official files.
        raw: The official splits.
        description: The fields of ``dataset.yaml`` that are not the same for all.
        convert: The preprocessing of one image.
        divide: Makes train, val and test out of the official splits.
        labelled_count: Number of labelled training images for a number of training images.
        labelled_pieces: The labelled ones are drawn among the prepared images; otherwise among the
            raw ones, and all pieces of one keep their labels.
        colour_masks: Masks are read as ``(H, W, 3)`` BGR instead of ``(H, W)`` grey.
        index_masks: Masks are read as the indices that they store, whatever their palette.
        masks_may_differ: Masks of another size than their image occur in the official data;
            they are brought to the image's size (nearest neighbour).
        volumes: Regular expression of the paths of multi-page TIFF files, whose slices are the raw
            images and masks (``PATH/0`` and so on), or None.
        partitioned: Prepares a data set with published partitions, in place of
            :func:`im_bench.data.prepare.pipeline.run`: gets the request, folders that may hold
            the original lists, the folder of downloads, the number of threads, and the progress.
    """

    name: str
    title: str
    home: str
    archives: tuple[Archive, ...]
    raw: Mapping[str, RawSplit]
    description: Mapping[str, Any]
    convert: Convert
    divide: Callable[[Samples], Samples] = _as_it_is
    labelled_count: Callable[[int], int] = field(default=lambda n: max(1, n // 10))
    labelled_pieces: bool = False
    colour_masks: bool = False
    index_masks: bool = False
    masks_may_differ: bool = False
    volumes: str | None = None
    partitioned: Partitioned | None = None

    @property
    def downloadable(self) -> bool:
        """Whether every official file has a public address."""
        return bool(self.archives) and all(archive.url for archive in self.archives)

    @property
    def how_to_get(self) -> str:
        """Where a user gets the data by hand, and the command that continues."""
        files = ", ".join(archive.file for archive in self.archives)
        wanted = f"get {files} from {self.home}" if files else f"ask for it at {self.home}"
        return (
            f"{wanted}, then run: im-bench data prepare {self.name} --root DIR --source FOLDER, "
            f"where FOLDER holds what you got"
        )


def find_samples(recipe: Recipe, paths: Sequence[str], allow_partial: bool) -> Samples:
    """Pair images and masks among the raw paths, for every official split, sorted by name.

    Args:
        recipe: The data set.
        paths: All paths of the raw data.
        allow_partial: Accept any number of images, and leave out those without a mask.

    Raises:
        ImBenchError: A split is empty, an image has no mask, a name occurs twice, or the number of
            images is not the official one.
    """
    return {
        split: _find_split(recipe, split, layout, paths, allow_partial)
        for split, layout in recipe.raw.items()
    }


def _find_split(
    recipe: Recipe, split: str, layout: RawSplit, paths: Sequence[str], allow_partial: bool
) -> list[Sample]:
    images = _match(layout.image, paths)
    if layout.names is not None:
        images = {name: path for name, path in images.items() if name in layout.names}
    masks = [_match(pattern, paths) for pattern in layout.masks]
    where = f"{recipe.name}, official {split} split"
    if not images:
        raise ImBenchError(
            f"{where}: no image found, expected files such as {layout.example}; {recipe.how_to_get}"
        )
    lonely = sorted(name for name in images if any(name not in found for found in masks))
    if lonely and not allow_partial:
        raise ImBenchError(
            f"{where}: {len(lonely)} of {len(images)} images have no mask, the first is "
            f"{images[lonely[0]]}: complete the data, or leave them out with --allow-partial"
        )
    names = sorted(set(images).difference(lonely))
    if layout.count is not None and len(names) != layout.count and not allow_partial:
        raise ImBenchError(
            f"{where}: {len(names)} images found where the official data set has {layout.count}: "
            f"complete the data, or accept what is there with --allow-partial"
        )
    return [Sample(name, images[name], tuple(found[name] for found in masks)) for name in names]


def _match(pattern: str, paths: Sequence[str]) -> dict[str, str]:
    expression = re.compile(pattern)
    found: dict[str, str] = {}
    for path in paths:
        if match := expression.search(path):
            name = match["name"]
            if name in found:
                raise ImBenchError(
                    f"{name} occurs twice in the raw data, as {found[name]} and {path}: "
                    f"give only one copy of the data set"
                )
            found[name] = path
    return found


def draw(samples: Sequence[Sample], count: int) -> tuple[list[Sample], list[Sample]]:
    """Divide samples at random into ``count`` of them and the rest, both in order.

    The original implementation draws from the order of a directory listing, which differs from
    machine to machine; here sorted names and a seeded generator make the split the same everywhere.
    """
    chosen = set(choose((sample.name for sample in samples), count, SEED))
    return (
        [sample for sample in samples if sample.name in chosen],
        [sample for sample in samples if sample.name not in chosen],
    )
