"""Checkpoints that are whole or absent, and that cannot run code when they are read."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from im_bench.errors import ImBenchError
from im_bench.files import atomic_path

_ARCHIVE = b"PK\x03\x04"


class BrokenCheckpoint(ImBenchError):  # noqa: N818 - as ImBenchError's, its message is for people
    """What a checkpoint's file holds is not what was written."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values, atomically and durably."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(path: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read tensors and plain values; any other object in the file is refused.

    Raises:
        BrokenCheckpoint: The file is damaged, or holds more than data.
        ImBenchError: It is missing or cannot be read.
    """
    try:
        _check_sums(path)
        content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise ImBenchError(f"checkpoint {path} does not exist: run its training first") from None
    except (pickle.UnpicklingError, AttributeError, LookupError, TypeError):
        # A file of anything else is read as instructions, which fail in many ways.
        raise BrokenCheckpoint(
            f"checkpoint {path} is broken or holds objects that could run code, "
            "so it is not loaded: name another one, or remove it and train again"
        ) from None
    except (RuntimeError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]  # PyTorch goes on to guess why
        raise BrokenCheckpoint(
            f"checkpoint {path} cannot be read ({reason}): name another one, or remove it "
            "and train again"
        ) from None
    except OSError as error:
        raise ImBenchError(
            f"checkpoint {path} cannot be read ({error}): name another one, or remove it "
            "and train again"
        ) from None
    if not isinstance(content, dict):
        raise BrokenCheckpoint(
            f"checkpoint {path} holds no named content: name another one, or remove it "
            "and train again"
        )
    return content


def _check_sums(path: Path) -> None:
    """Compare a checkpoint's content with its checksums, which PyTorch writes but does not read.

    Raises:
        ValueError: A bit has changed.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(_ARCHIVE)) != _ARCHIVE:
            return  # of PyTorch's first format, which has none
        try:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()
        except OSError:
            raise
        except Exception as error:  # A damaged header makes the reader fail in many ways.
            raise ValueError(f"damaged: {error}") from None
    if damaged is not None:
        raise ValueError(f"damaged: {damaged} is not what was written")


def refuse_pickled_code() -> None:
    """Make every ``torch.load`` of this process read data only.

    MMEngine's loader, which reads pretrained backbones, otherwise unpickles anything as soon as
    safe loading has failed. The switch is PyTorch's own and reaches every caller.
    """
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
