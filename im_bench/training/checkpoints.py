"""Checkpoints that are whole or absent, and that cannot run code when they are read."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from im_bench.errors import ImBenchError
from im_bench.files import atomic_path


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values, atomically and durably."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(path: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read tensors and plain values; any other object in the file is refused.

    Raises:
        ImBenchError: The file is missing, broken, or holds more than data.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise ImBenchError(f"checkpoint {path} does not exist: run its training first") from None
    except (pickle.UnpicklingError, AttributeError, LookupError, TypeError):
        # A file of anything else is read as instructions, which fail in many ways.
        raise ImBenchError(
            f"checkpoint {path} is broken or holds objects that could run code, "
            "so it is not loaded: name another one, or remove it and train again"
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]  # PyTorch goes on to guess why
        raise ImBenchError(
            f"checkpoint {path} cannot be read ({reason}): name another one, or remove it "
            "and train again"
        ) from None
    if not isinstance(content, dict):
        raise ImBenchError(
            f"checkpoint {path} holds no named content: name another one, or remove it "
            "and train again"
        )
    return content


def refuse_pickled_code() -> None:
    """Make every ``torch.load`` of this process read data only.

    MMEngine's loader, which reads pretrained backbones, otherwise unpickles anything as soon as
    safe loading has failed. The switch is PyTorch's own and reaches every caller.
    """
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
