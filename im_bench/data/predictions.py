"""Cached predictions on disk: what several networks say of the validation images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from im_bench.errors import ImBenchError
from im_bench.files import atomic_path, read_json, write_json

FORMAT = "predictions.json"
PROBABILITIES = "probabilities.npy"

Probabilities = NDArray[np.float16]


@contextmanager
def new_predictions(folder: Path, shape: tuple[int, ...]) -> Iterator[Probabilities]:
    """Give an array on disk to be filled, which is kept if the block ends well.

    Args:
        folder: Receives ``probabilities.npy``.
        shape: (K, N, C, H, W). What is not filled stays 0.
    """
    with atomic_path(folder / PROBABILITIES) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        yield array
        array.flush()


def describe_predictions(folder: Path, networks: Iterable[str], part: str) -> None:
    """Write whose predictions a folder holds, and of which part: its last file.

    Args:
        folder: Receives ``predictions.json``.
        networks: Names of the K train stages, the best one first.
        part: Of the data set.
    """
    write_json(folder / FORMAT, {"networks": list(networks), "part": part})


def read_predictions(folder: Path, meta: dict[str, Any], part: str) -> Probabilities:
    """Return predictions, memory-mapped, float16 (K, N, C, H, W), the best network first.

    Args:
        folder: Of a predict stage.
        meta: ``meta.json`` of the data set that was predicted.
        part: Of the data set.

    Raises:
        ImBenchError: A file is missing or broken, or belongs to other images.
    """
    try:
        form = read_json(folder / FORMAT)
        array: Probabilities = np.load(folder / PROBABILITIES, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ImBenchError(
            f"the predictions in {folder} cannot be read ({error}): run their stage again"
        ) from None
    width, height = map(int, meta["size"])
    images = (len(meta["names"][part]), meta["outputs"], height, width)
    expected = (len(form["networks"]), *images)
    if form["part"] != part or array.shape != expected or array.dtype != np.float16:
        raise ImBenchError(
            f"{folder}: predictions of part {form['part']!r}, {array.dtype} {array.shape}, do not "
            f"belong to part {part!r} of data set {meta['name']!r}, float16 {expected}: run their "
            "stage again"
        )
    return array
