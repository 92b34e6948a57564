"""Checkpoints that are whole or absent, and that cannot run code when they are read."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import mmengine.runner.checkpoint
import torch
from mmengine.runner import CheckpointLoader

from im_bench.errors import ImBenchError
from im_bench.files import atomic_path
from im_bench.models.safe_objects import refused_object, safe_globals

_ARCHIVE = b"PK\x03\x04"
_REMEDY = "name another one, or remove it and train again"


class BrokenCheckpoint(ImBenchError):  # noqa: N818 - as ImBenchError's, its message is for people
    """What a checkpoint's file holds is not what was written."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values, atomically and durably."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(path: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint of any program: tensors, plain values and what is as harmless.

    Every route to a checkpoint leads through here.

    Args:
        path: A file of ``torch.save``, in its present or first format, or a ``.safetensors``.
        device: Where its tensors go.

    Returns:
        What the file holds; see :mod:`im_bench.models.safe_objects`.

    Raises:
        BrokenCheckpoint: The file is damaged, or holds an object that could run code.
        ImBenchError: It is missing or cannot be read.
    """
    try:
        if path.suffix == ".safetensors":
            return _load_safetensors(path, device)
        _check_sums(path)
        with torch.serialization.safe_globals(safe_globals()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other protocols, which are refused below
            content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise ImBenchError(f"checkpoint {path} does not exist: run its training first") from None
    except (pickle.UnpicklingError, AttributeError, LookupError, TypeError) as error:
        raise refusal(str(path), error) from None
    except (RuntimeError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]  # PyTorch goes on to guess why
        raise BrokenCheckpoint(f"checkpoint {path} cannot be read ({reason}): {_REMEDY}") from None
    except OSError as error:
        raise ImBenchError(f"checkpoint {path} cannot be read ({error}): {_REMEDY}") from None
    if not isinstance(content, dict):
        held = type(content).__name__
        raise BrokenCheckpoint(f"checkpoint {path} holds no named content, but a {held}: {_REMEDY}")
    return content


def refusal(file: str, error: Exception) -> BrokenCheckpoint:
    """Return the sentence for a file that PyTorch's restricted unpickler does not read."""
    name = refused_object(str(error))
    if name is not None:
        return BrokenCheckpoint(
            f"checkpoint {file} holds {name}, which could run code, so it is not loaded: save only "
            "its state_dict where you trust the file, or name another one"
        )
    # A file of anything else is read as instructions, which fail in many ways.
    return BrokenCheckpoint(
        f"checkpoint {file} is broken, or was not written by torch.save with its own protocol of "
        f"pickle, so it is not loaded: {_REMEDY}"
    )


def refuse_pickled_code() -> None:
    """Make all of this process read checkpoints as data only, MMEngine's own loaders included.

    MMEngine reads pretrained weights, and what ``load_from`` and ``resume`` name. Its loader admits
    ``getattr`` of any object, and unpickles anything as soon as safe loading has failed. Its runner
    executes the config that a checkpoint holds when it resumes.
    """
    # PyTorch's own switch reaches every other caller, such as downloads.
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    mmengine.runner.checkpoint.get_torch_safe_globals = safe_globals
    CheckpointLoader.register_scheme(prefixes="", loader=_load_for_mmengine, force=True)


def _load_for_mmengine(filename: str, map_location: Any = None) -> dict[str, Any]:
    device = map_location if isinstance(map_location, (str, torch.device)) else "cpu"
    content = load_checkpoint(Path(filename).expanduser(), device)
    meta = content.get("meta")
    if isinstance(meta, dict):
        meta.pop("config", None)  # Python code, which MMEngine would run
    return content


def _load_safetensors(path: Path, device: str | torch.device) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path, device=str(device)))
    except SafetensorError as error:
        raise ValueError(str(error)) from None


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
