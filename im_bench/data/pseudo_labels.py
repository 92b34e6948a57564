"""Pseudo-labels of packed images on disk: which were kept, their labels, where teachers disagree.

They are written while the teachers label, and read an image at a time, so that memory does not grow
with their number. The images are not written again: whoever reads pseudo-labels takes them from the
packed arrays and blanks them.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from im_bench.errors import ImBenchError
from im_bench.files import read_json, write_json

FORMAT = "pseudo.json"
_PROGRESS = "labelling.json"


class PseudoLabelWriter:
    """Writes pseudo-labels batch by batch, and goes on after an interruption.

    What is unfinished lies in a folder of its own. :meth:`close` puts ``indices.npy``,
    ``labels.npy``, ``masks.npy`` (bits packed along the width) and, last, ``pseudo.json`` in place.

    Args:
        folder: Receives the files.
        unfinished: Holds them until then. What an interrupted writer left there is continued.
        size: Rows and columns of the images.
        blank: Whether a student sees inconsistent pixels in black.

    Attributes:
        state: What was given to the last :meth:`save`; empty at first.
    """

    def __init__(self, folder: Path, unfinished: Path, size: Sequence[int], blank: bool) -> None:
        height, width = size
        self._folder = folder
        self._unfinished = unfinished
        self._blank = blank
        self._rows: dict[str, tuple[tuple[int, ...], str]] = {
            "indices": ((), "<i8"),
            "labels": ((height, width), "|u1"),
            "masks": ((height, -(-width // 8)), "|u1"),
        }
        unfinished.mkdir(parents=True, exist_ok=True)
        self.state, self._count = self._left()
        self._files = {name: self._opened(name) for name in self._rows}

    def add(
        self, indices: NDArray[np.int64], labels: NDArray[np.uint8], inconsistent: NDArray[np.bool_]
    ) -> None:
        """Write some images' pseudo-labels.

        Args:
            indices: (n,), positions of the images among the training images.
            labels: Label bytes (n, H, W).
            inconsistent: (n, H, W).

        Raises:
            ImBenchError: They cannot be written.
        """
        masks = np.packbits(inconsistent, axis=-1)
        arrays = {"indices": indices.astype("<i8"), "labels": labels, "masks": masks}
        try:
            for name, array in arrays.items():
                self._files[name].write(np.ascontiguousarray(array).tobytes())
        except OSError as error:
            raise self._full(error) from None
        self._count += len(indices)

    def save(self, state: Mapping[str, Any]) -> None:
        """Make what was written so far durable, with what the labelling needs to go on."""
        try:
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
            write_json(self._unfinished / _PROGRESS, {"kept": self._count, "state": dict(state)})
        except OSError as error:
            raise self._full(error) from None

    def close(self) -> None:
        """Put the finished files in place."""
        try:
            for name, file in self._files.items():
                file.seek(0)
                file.write(self._header(name, self._count))
                file.flush()
                os.fsync(file.fileno())
                file.close()
        except OSError as error:
            raise self._full(error) from None
        for name in self._rows:
            (self._unfinished / f"{name}.npy").replace(self._folder / f"{name}.npy")
        (self._unfinished / _PROGRESS).unlink(missing_ok=True)
        write_json(self._folder / FORMAT, {"images": self._count, "blank": self._blank})

    def _left(self) -> tuple[dict[str, Any], int]:
        """Return what an interrupted writer saved last, if its files hold as much."""
        try:
            progress = read_json(self._unfinished / _PROGRESS)
            count, state = int(progress["kept"]), dict(progress["state"])
            whole = all(
                (self._unfinished / f"{name}.npy").stat().st_size >= self._length(name, count)
                for name in self._rows
            )
        except (OSError, ValueError, KeyError, TypeError):
            return {}, 0
        return (state, count) if whole else ({}, 0)

    def _opened(self, name: str) -> IO[bytes]:
        path = self._unfinished / f"{name}.npy"
        file = path.open("r+b" if self.state else "w+b")
        if not self.state:
            file.write(self._header(name, 0))
        file.truncate(self._length(name, self._count))  # what came after the last save
        file.seek(0, os.SEEK_END)
        return file

    def _header(self, name: str, count: int) -> bytes:
        shape, kind = self._rows[name]
        header = io.BytesIO()  # NumPy leaves room for the digits of the first axis
        np.lib.format.write_array_header_1_0(
            header, {"descr": kind, "fortran_order": False, "shape": (count, *shape)}
        )
        return header.getvalue()

    def _length(self, name: str, count: int) -> int:
        shape, kind = self._rows[name]
        return (
            len(self._header(name, count))
            + count * int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
        )

    def _full(self, error: OSError) -> ImBenchError:
        return ImBenchError(
            f"{self._folder}: pseudo-labels cannot be written: {error.strerror or error}: make "
            "room there, and run again"
        )


class PseudoLabels:
    """The pseudo-labels of a stage, of which only what is asked for is read.

    Args:
        folder: Of the stage.
        shape: Of the array of all training images, (N, H, W, C).

    Attributes:
        indices: (n,), positions of the images that were kept, among the training images.
        blank: Whether a student sees inconsistent pixels in black.

    Raises:
        ImBenchError: A file is missing or broken, or belongs to other images.
    """

    def __init__(self, folder: Path, shape: Sequence[int]) -> None:
        self.blank = bool(_read_format(folder)["blank"])
        try:
            self.indices: NDArray[np.int64] = np.load(folder / "indices.npy", allow_pickle=False)
            self._labels, self._masks = (
                np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("labels", "masks")
            )
        except (OSError, EOFError, ValueError) as error:
            raise ImBenchError(
                f"the pseudo-labels in {folder} cannot be read ({error}): run their stage again"
            ) from None
        count, *self._size = shape[:3]
        if self._labels.shape != (len(self.indices), *self._size) or (self.indices >= count).any():
            raise ImBenchError(
                f"{folder}: pseudo-labels of shape {self._labels.shape} do not belong to {count} "
                f"training images of {shape[2]}x{shape[1]}: make them anew"
            )
        self._row = np.full(count, -1, np.int64)
        self._row[self.indices] = np.arange(len(self.indices))

    def __len__(self) -> int:
        return len(self.indices)

    def kept(self, rows: Sequence[int] | NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return labels, uint8 (n, H, W), and inconsistency, bool (n, H, W), by number.

        Args:
            rows: Numbers of images that were kept, 0..len - 1.
        """
        masks = np.unpackbits(self._masks[rows], axis=-1, count=self._size[1]).view(np.bool_)
        return torch.from_numpy(np.asarray(self._labels[rows])), torch.from_numpy(masks)

    def at(self, positions: Sequence[int] | NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return labels and inconsistency of training images, by position.

        An image that was not kept is inconsistent all over.

        Args:
            positions: (n,), among the training images.
        """
        rows = self._row[np.asarray(positions, np.int64)]
        labels = torch.zeros((len(rows), *self._size), dtype=torch.uint8)
        inconsistent = torch.ones(labels.shape, dtype=torch.bool)
        known = rows >= 0
        if known.any():
            where = torch.from_numpy(known)
            labels[where], inconsistent[where] = self.kept(rows[known])
        return labels, inconsistent


def write_pseudo_labels(
    folder: Path,
    indices: NDArray[np.int64],
    labels: NDArray[np.uint8],
    inconsistent: NDArray[np.bool_],
    blank: bool,
) -> None:
    """Write pseudo-labels that are all there already; see :class:`PseudoLabelWriter`."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = PseudoLabelWriter(folder, folder, labels.shape[1:], blank)
    writer.add(indices, labels, inconsistent)
    writer.close()


def count_pseudo_labels(folder: Path) -> int:
    """Return how many images a pseudo-label stage kept."""
    return int(_read_format(folder)["images"])


def _read_format(folder: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_json(folder / FORMAT)
    except (OSError, ValueError) as error:
        raise ImBenchError(
            f"{folder / FORMAT} cannot be read ({error}): run the pseudo-label stage again"
        ) from None
    return content
