"""Weights of a segmentor from whatever checkpoint holds them, without running code of the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor, nn

from im_bench.errors import ImBenchError
from im_bench.models.checkpoints import load_checkpoint

_AUXILIARY = "auxiliary_head."
PARTS = ("student", "companion")
"""The networks that a semi-supervised checkpoint can hold."""


def load_weights(network: nn.Module, path: Path, part: str = "student") -> None:
    """Load a checkpoint of MMEngine or im-bench into a network.

    Auxiliary heads may be missing on either side, since they predict nothing.

    Args:
        network: A segmentor.
        path: A checkpoint, or a bare state dict.
        part: Which network of a semi-supervised checkpoint: ``student`` or ``companion``.

    Raises:
        ImBenchError: The file is missing, broken or holds code, or does not fit the network.
    """
    weights = segmentor_weights(read_checkpoint(path), part, path)
    try:
        missing, unexpected = network.load_state_dict(weights, strict=False)
    except (RuntimeError, ImBenchError) as error:
        raise _misfit(path, network, str(error).splitlines()[-1].strip()) from None
    odd = [key for key in (*missing, *unexpected) if not key.startswith(_AUXILIARY)]
    if odd:
        kind = "lacks" if odd[0] in missing else "also has"
        raise _misfit(path, network, f"it {kind} {odd[0]!r} and {len(odd) - 1} more")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint: tensors, plain values, and the logs that MMEngine puts beside them.

    Raises:
        ImBenchError: The file is missing, broken, or holds anything else.
    """
    with torch.serialization.safe_globals(_mmengine_logs()):
        return load_checkpoint(path)


def segmentor_weights(content: Mapping[str, Any], part: str, path: Path) -> dict[str, Tensor]:
    """Return the state dict of one segmentor.

    Args:
        content: Of a checkpoint.
        part: Which network of a semi-supervised segmentor.
        path: Named in the error.

    Raises:
        ImBenchError: There is none, or a semi-supervised checkpoint lacks that part.
    """
    weights = content.get("state_dict", content)
    if not isinstance(weights, Mapping):
        raise ImBenchError(f"{path} holds no state dict: name a segmentor's checkpoint")
    weights = {key.removeprefix("module."): value for key, value in weights.items()}
    parts = [name for name in PARTS if any(key.startswith(f"{name}.") for key in weights)]
    if parts:
        if part not in parts:
            raise ImBenchError(
                f"{path} holds no network {part!r}, only {' and '.join(parts)}: name another part "
                "in teachers.part, which may be a list with one for each checkpoint"
            )
        prefix = f"{part}."
        weights = {
            key.removeprefix(prefix): value
            for key, value in weights.items()
            if key.startswith(prefix)
        }
    return {key: value for key, value in weights.items() if isinstance(value, Tensor)}


def _mmengine_logs() -> list[Any]:
    """Return what the history of a training's numbers is made of: NumPy arrays and one class."""
    multiarray = getattr(np, "_core", None) or np.core
    dtypes = {type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, bool)}
    return [
        HistoryBuffer,
        multiarray.multiarray._reconstruct,
        multiarray.multiarray.scalar,
        np.ndarray,
        np.dtype,
        *dtypes,
        # Names the statistics of HistoryBuffer; the unrestricted one would reach any object.
        (_statistic, "builtins.getattr"),
    ]


def _statistic(owner: Any, name: str) -> Any:
    if owner is not HistoryBuffer or name.startswith("_"):
        raise ImBenchError(f"a checkpoint may not name {name!r} of {owner!r}: do not load it")
    return getattr(owner, name)


def _misfit(path: Path, network: nn.Module, why: str) -> ImBenchError:
    return ImBenchError(
        f"teacher {path} does not fit a {type(network).__name__}: {why}: "
        "give its own config in 'models'"
    )
