"""The part of preparation that all data sets share: reading, writing, resuming, the manifest."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image

from im_bench.data import versions
from im_bench.data.description import SPLITS
from im_bench.data.fingerprint import MANIFEST
from im_bench.data.prepare.disk import explained_write_errors, remove_torn_files, write_png
from im_bench.data.prepare.journal import Files, Journal
from im_bench.data.prepare.manifest import finish, sample_key, verify_prepared
from im_bench.data.prepare.recipe import (
    SEED,
    Image,
    Recipe,
    Sample,
    Samples,
    Size,
    find_samples,
)
from im_bench.data.prepare.sources import RawFiles, open_raw, verify
from im_bench.data.prepare.volumes import with_slices
from im_bench.errors import ImBenchError
from im_bench.files import sha256_json

JOURNAL = ".journal"
Progress = Callable[[int, int], None]
"""Called with the number of finished raw images and the number of all."""


@dataclass(frozen=True)
class Request:
    """What to prepare from where.

    Attributes:
        recipe: The data set.
        sources: Raw folders and archives.
        folder: Where the prepared data set is written.
        size: ``(width, height)`` of the prepared images, None for the original's own.
        allow_partial: Accept other than the official number of images.
        sha256: The checksums that the archives must have, in the order of the archives in
            ``sources``; empty to compare with the known ones.
    """

    recipe: Recipe
    sources: tuple[Path, ...]
    folder: Path
    size: Size | None = None
    allow_partial: bool = False
    sha256: tuple[str, ...] = ()


def run(request: Request, threads: int, progress: Progress | None) -> Path:
    """Prepare a data set, or continue a preparation that was interrupted.

    Returns the folder, which then holds ``dataset.yaml``, ``images/``, ``labels/``,
    ``labelled-10.txt`` and ``manifest.json``. The manifest is written last: a folder without one
    is unfinished.

    Raises:
        ImBenchError: The sources are not as they should be, the folder holds a data set that was
            prepared from other sources or in another way, or it cannot be written.
    """
    folder, recipe = request.folder, request.recipe
    scratch = folder / ".extracted"
    with explained_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with open_raw(request.sources, scratch) as files:
            raw = with_slices(files, recipe.volumes) if recipe.volumes else files
            found = find_samples(recipe, raw.paths, request.allow_partial)
            header = {"version": versions.PREPARATION, "options": _options(request)}
            origin = {"sources": _verify_sources(request), "raw": _raw_digest(raw, found)}
            if (folder / MANIFEST).is_file():
                verify_prepared(folder, {**header, **origin})
            else:
                samples = recipe.divide(found)
                _refuse_empty_splits(recipe, samples)
                _refuse_other_contents(folder)
                remove_torn_files(folder)
                marks = _marks(raw, samples)
                with Journal(folder / JOURNAL, header, marks) as journal:
                    _convert_all(request, raw, samples, journal, threads, progress)
                finish(folder, recipe, samples, journal.finished, {**header, **origin})
        (folder / JOURNAL).unlink(missing_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _refuse_empty_splits(recipe: Recipe, samples: Samples) -> None:
    for split in SPLITS:
        if not samples[split]:
            raise ImBenchError(
                f"{recipe.name}: no images are left for the {split} split: give more images"
            )


def _refuse_other_contents(folder: Path) -> None:
    """Refuse a folder that is not ours: what does not belong to the data set is removed there."""
    if not (folder / JOURNAL).is_file() and any(folder.glob("[!.]*")):
        raise ImBenchError(
            f"{folder} holds files that no preparation has written: remove it, or give another "
            f"--root"
        )


def _options(request: Request) -> dict[str, Any]:
    return {
        "size": list(request.size) if request.size else None,
        "allow_partial": request.allow_partial,
        "seed": SEED,
    }


def _raw_digest(raw: RawFiles, samples: Samples) -> str:
    """Return the SHA-256 of the names and sizes of the raw files, to notice other raw data."""
    paths = {path for split in samples.values() for sample in split for path in sample.paths}
    return sha256_json([[path, raw.marks[path].size] for path in sorted(paths)])


def _marks(raw: RawFiles, samples: Samples) -> dict[str, str]:
    """Return what changes when the files of a raw image do, for every image."""
    return {
        sample_key(split, sample): sha256_json([raw.marks[path] for path in sample.paths])
        for split in SPLITS
        for sample in samples[split]
    }


def _verify_sources(request: Request) -> dict[str, str]:
    archives = [source for source in request.sources if source.is_file()]
    if request.sha256 and len(request.sha256) != len(archives):
        raise ImBenchError(
            f"{len(request.sha256)} checksums are given for {len(archives)} archives: "
            f"give --sha256 once per --archive, in the same order"
        )
    given: list[str | None] = [f"sha256:{digest}" for digest in request.sha256]
    known = {archive.file: archive.checksum for archive in request.recipe.archives}
    expected = given or [known.get(archive.name) for archive in archives]
    return {
        archive.name: verify(archive, checksum)
        for archive, checksum in zip(archives, expected, strict=True)
    }


def _convert_all(
    request: Request,
    raw: RawFiles,
    samples: Samples,
    journal: Journal,
    threads: int,
    progress: Progress | None,
) -> None:
    every = [(split, sample) for split in SPLITS for sample in samples[split]]
    left = [one for one in every if sample_key(*one) not in journal.finished]
    with ThreadPoolExecutor(threads) as pool:
        running = {
            pool.submit(_convert, request, raw, split, sample): sample_key(split, sample)
            for split, sample in left
        }
        try:
            for future in as_completed(running):
                journal.add(running[future], future.result())
                if progress is not None:
                    progress(len(journal.finished), len(every))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _convert(request: Request, raw: RawFiles, split: str, sample: Sample) -> Files:
    """Read, convert and write one raw image; return the files made of it."""
    recipe = request.recipe
    image = _decode(raw, sample.image, cv2.IMREAD_COLOR)
    mode = cv2.IMREAD_COLOR if recipe.colour_masks else cv2.IMREAD_GRAYSCALE
    masks = [
        _decode_indices(raw, path) if recipe.index_masks else _decode(raw, path, mode)
        for path in sample.masks
    ]
    for index, mask in enumerate(masks):
        if mask.shape[:2] != image.shape[:2]:
            if not recipe.masks_may_differ:
                raise ImBenchError(
                    f"{sample.masks[index]} has {mask.shape[1]}x{mask.shape[0]} pixels, its image "
                    f"{image.shape[1]}x{image.shape[0]}: get the official files again"
                )
            size = (image.shape[1], image.shape[0])
            masks[index] = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    # A generator of its own makes an image's crops the same whatever was prepared before it.
    rng = np.random.default_rng([SEED, zlib.crc32(sample_key(split, sample).encode())])
    files: Files = {}
    for piece in recipe.convert(image, masks, split, request.size, rng):
        for kind, pixels in (("images", piece.image), ("labels", piece.label)):
            path = f"{kind}/{split}/{sample.name}{piece.suffix}.png"
            files[path] = write_png(request.folder / path, pixels)
    return files


def _decode(raw: RawFiles, path: str, mode: int) -> Image:
    content = np.frombuffer(raw.read(path), np.uint8)
    pixels: Image | None = cv2.imdecode(content, mode) if content.size else None
    if pixels is None:
        raise ImBenchError(
            f"{path} ({content.size:,} bytes) cannot be read as an image: get it again"
        )
    return pixels


def _decode_indices(raw: RawFiles, path: str) -> Image:
    """Read the indices of a mask, which OpenCV would replace by the colours of its palette."""
    try:
        with PIL.Image.open(BytesIO(raw.read(path))) as image:
            pixels = np.array(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise ImBenchError(f"{path} cannot be read as an image ({error}): get it again") from None
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise ImBenchError(f"{path} has colours where it should have indices: get the original")
    return pixels


def check_folder_is_free(sources: Sequence[Path], folder: Path) -> None:
    """Refuse to write prepared data into the raw data.

    Raises:
        ImBenchError: ``folder`` is one of the sources or lies around one.
    """
    for source in sources:
        if source.is_dir() and folder.resolve() in (source.resolve(), *source.resolve().parents):
            raise ImBenchError(
                f"{folder} is where the prepared data goes, but it holds the raw data {source}: "
                f"give another --root"
            )
