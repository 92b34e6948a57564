"""A data set as arrays of one size, which is what training reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from im_bench.data.description import IGNORED, SPLITS, Split
from im_bench.data.encodings import Labels
from im_bench.data.fingerprint import content_fingerprint
from im_bench.data.folder import DataFolder
from im_bench.data.image_files import Pixels
from im_bench.data.listing import Item
from im_bench.data.network_input import Size, network_input, resize_labels, size_of
from im_bench.data.splits import choose, choose_labelled
from im_bench.data.survey import Facts, Survey
from im_bench.errors import ImBenchError
from im_bench.files import atomic_path, write_json

Progress = Callable[[int, int], None]
_Read = tuple[NDArray[np.uint8], Labels, Facts]


def pack(
    folder: DataFolder,
    out: Path,
    size: Size | None = None,
    fit: Literal["resize", "pad"] = "resize",
    labelled: float | Literal["file"] = 1.0,
    seed: int = 42,
    limit: Mapping[Split, int] | None = None,
    threads: int = 1,
    progress: Progress | None = None,
    hold_out: float | None = None,
    survey: Survey | None = None,
) -> dict[str, Any]:
    """Write a data set as arrays of one size; all of them or nothing.

    Images are reduced by pixel area and enlarged bilinearly; label maps, bits included, take the
    nearest pixel. No more than a few images per thread are in memory at a time.

    Args:
        folder: The data set.
        out: The folder to write, or to replace: ``meta.json`` and, per split,
            ``<split>_images.npy`` (N, H, W, C) and ``<split>_labels.npy`` (N, H, W), uint8.
        size: Width and height; None keeps the images' own, which must then be one.
        fit: ``resize`` images to ``size``, or ``pad`` them on the right and below, with black and
            ignored labels (multi-label: no class); then ``meta.json`` has their own ``sizes``.
            There it is ``own`` where ``size`` is None.
        labelled: The share of training images with masks that keep their labels, in (0, 1], or
            ``file`` for the names in the description's ``labelled`` file.
        seed: Seed of the choice of labelled images, and of the images that ``limit`` keeps.
        limit: The most images of a split.
        threads: Images that are read at a time.
        progress: Called with the number of images done, and of all.
        hold_out: Share of the labelled images, at least one, that become the validation images.
        survey: Receives what was found in each image and mask.

    Returns:
        What ``meta.json`` holds.

    Raises:
        ImBenchError: The data set is wrong in any way, the images differ in size and ``size`` is
            None, one is larger than what all are padded to, or ``out`` cannot be written (a full
            disk, say).
    """
    items = {
        split: _limited(folder.items(split), (limit or {}).get(split), seed) for split in SPLITS
    }
    masked = [item.name for item in items["train"] if item.masks]
    keeping = _labelled(folder, masked, labelled, seed)
    if hold_out is not None:
        keeping, held = _held_out(keeping, hold_out, seed)
        items["val"] = [item for item in items["train"] if item.name in held]
        items["train"] = [item for item in items["train"] if item.name not in held]
    names = {split: [item.name for item in items[split]] for split in SPLITS}
    unmasked = [item.name for item in items["train"] if not item.masks]
    meta: dict[str, Any] = {
        **_space(folder),
        "size": list(size or size_of(folder.read_image(items["train"][0]))),
        "fit": fit if size else "own",
        "labelled": keeping,
        "names": names,
        **({"unmasked": unmasked} if unmasked else {}),
        "fingerprint": content_fingerprint(folder.description, folder.base),
    }
    total = sum(map(len, names.values()))
    padded = meta["fit"] == "pad"
    survey = survey or Survey(folder.description)
    read = partial(_read, folder, meta, survey)
    parts: dict[str, str | None] = dict.fromkeys(names["train"]) | dict.fromkeys(
        keeping, "labelled"
    )
    if padded:
        meta["sizes"] = {split: [] for split in SPLITS}
    try:
        with atomic_path(out) as temporary, ThreadPoolExecutor(threads) as pool:
            temporary.mkdir()
            done = 0
            for split in SPLITS:
                shape = (len(names[split]), meta["size"][1], meta["size"][0])
                with ExitStack() as files:
                    images, labels = (
                        files.enter_context((temporary / f"{split}_{kind}.npy").open("wb"))
                        for kind in ("images", "labels")
                    )
                    _write_header(images, (*shape, meta["channels"]))
                    _write_header(labels, shape)
                    turns = _map_in_turns(pool, read, items[split], 4 * threads)
                    for name, (image, label, facts) in zip(names[split], turns, strict=True):
                        part = parts[name] if split == "train" else split
                        survey.add(part, f"{split}/{name}", facts)
                        if padded:
                            meta["sizes"][split].append(list(size_of(image)))
                            image, label = _padded(image, label, meta)
                        # Not through a memory map: on a full disk that kills the process.
                        images.write(image.tobytes())
                        labels.write(label.tobytes())
                        done += 1
                        if progress is not None:
                            progress(done, total)
            write_json(temporary / "meta.json", meta)
    except OSError as error:
        raise ImBenchError(
            f"{out}: cannot be written: {error.strerror or error}: make room there, or choose "
            "another folder"
        ) from None
    return meta


def _space(folder: DataFolder) -> dict[str, Any]:
    description = folder.description
    return {
        "name": description.name,
        "space": description.space,
        "classes": list(description.class_names),
        "outputs": description.outputs,
        "channels": 1 if description.channels == "grey" else 3,
        "reading": asdict(description.reading),
        "cells": description.cells and description.cells.model_dump(),
        "metric": description.metric,
    }


def _limited(items: list[Item], most: int | None, seed: int) -> list[Item]:
    if most is None or most >= len(items):
        return items
    if most < 1:
        raise ImBenchError(f"a limit of {most} images leaves nothing: give at least 1")
    kept = set(choose((item.name for item in items), most, seed))
    return [item for item in items if item.name in kept]


def _held_out(labelled: list[str], share: float, seed: int) -> tuple[list[str], set[str]]:
    """Return the images that stay labelled, and those that are held out."""
    count = max(1, round(share * len(labelled)))
    if count >= len(labelled):
        raise ImBenchError(
            f"holding out {count} of {len(labelled)} labelled images leaves none to learn from: "
            "hold out a smaller share, or label more"
        )
    held = set(choose(labelled, count, seed))
    return [name for name in labelled if name not in held], held


def _labelled(
    folder: DataFolder, train: list[str], labelled: float | Literal["file"], seed: int
) -> list[str]:
    if labelled != "file":
        return choose_labelled(train, labelled, seed)
    names = folder.labelled_names()
    if names is None:
        raise ImBenchError(
            f"data set {folder.description.name}: its description names no `labelled` file: "
            "add one, or give a share"
        )
    kept = sorted(set(names) & set(train))
    if not kept:
        raise ImBenchError(
            f"data set {folder.description.name}: the limit leaves no labelled image: raise it"
        )
    return kept


def _read(folder: DataFolder, meta: Mapping[str, Any], survey: Survey, item: Item) -> _Read:
    """Return an item as networks take it, (H, W, C) and (H, W), and what its files hold.

    Raises:
        ImBenchError: It cannot be read, or does not fit into the arrays.
    """
    stored: list[Pixels] = []
    image, label = folder.read_pair(item, stored)
    facts = survey.look(item, image, label, stored)
    given = network_input(image, meta)
    own, size = size_of(given.pixels), tuple(meta["size"])
    if meta["fit"] == "pad" and any(side > most for side, most in zip(own, size, strict=True)):
        raise ImBenchError(
            f"{item.image}: is {_text(own)} pixels, which do not fit into the suite's "
            f"{_text(size)}: give a size that no image exceeds, or `fit: resize`"
        )
    if meta["fit"] == "own" and own != size:
        raise ImBenchError(
            f"{item.image}: is {_text(own)} pixels but the first training image is "
            f"{_text(size)}: give the suite a size to which all are resized"
        )
    return given.pixels, resize_labels(label, own), facts


def _padded(
    image: NDArray[np.uint8], label: Labels, meta: Mapping[str, Any]
) -> tuple[NDArray[np.uint8], Labels]:
    """Return an item with padding on the right and below."""
    right, below = (most - own for most, own in zip(meta["size"], size_of(image), strict=True))
    edges = ((0, below), (0, right))
    value = 0 if meta["space"] == "multilabel" else IGNORED
    return np.pad(image, (*edges, (0, 0))), np.pad(label, edges, constant_values=value)


def _map_in_turns(
    pool: ThreadPoolExecutor,
    function: Callable[[Item], _Read],
    items: Sequence[Item],
    turn: int,
) -> Iterator[_Read]:
    """Map in order with at most ``turn`` results in memory."""
    for start in range(0, len(items), turn):
        yield from pool.map(function, items[start : start + turn])


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
