"""Objects beside tensors that a checkpoint may hold, because making them runs nothing.

PyTorch's restricted unpickler makes plain values and tensors only. Trainings put more beside them:
NumPy's numbers and arrays, paths, parsed arguments, configs, MMEngine's logs. All of these are
listed here, by each name that they had in any version of their library. A config becomes a
dictionary, and a path becomes one that never looks at the disk.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import pathlib
import re
import types
from collections import OrderedDict
from collections.abc import Mapping
from pickle import UnpicklingError
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer

_PATHS = {
    "Path": pathlib.PurePosixPath,
    "PosixPath": pathlib.PurePosixPath,
    "PurePath": pathlib.PurePosixPath,
    "PurePosixPath": pathlib.PurePosixPath,
    "WindowsPath": pathlib.PureWindowsPath,
    "PureWindowsPath": pathlib.PureWindowsPath,
}
_DICTIONARIES = (
    "addict.addict.Dict",
    "collections.defaultdict",
    "easydict.EasyDict",
    "mmcv.utils.config.ConfigDict",
    "mmengine.config.config.ConfigDict",
    "yacs.config.CfgNode",
)
_CONFIGS = ("mmcv.utils.config.Config", "mmengine.config.config.Config")
_VALUES = (bool, dict, float, frozenset, int, list, range, slice, str, tuple)
_TIMES = (datetime.date, datetime.datetime, datetime.timedelta, datetime.timezone)

# How PyTorch names what it refuses, in its own sentences.
_REFUSED = (
    re.compile(r"GLOBAL (\S+) was not an allowed"),
    re.compile(r"unsupported GLOBAL (\S+) whose"),
    re.compile(r"got <class '([^']+)'>"),
)


@functools.cache
def safe_globals() -> list[Any]:
    """Return what ``torch.serialization.safe_globals`` takes: objects, or pairs with a name."""
    multiarray = (getattr(np, "_core", None) or np.core).multiarray
    # Neither objects nor records: their state is not checked by NumPy.
    kinds = [np.dtype(code) for code in np.typecodes["All"] if code not in "OV"]
    aliases: dict[str, Any] = {
        **{f"{m}.{n}": p for m in ("pathlib", "pathlib._local") for n, p in _PATHS.items()},
        **dict.fromkeys(_DICTIONARIES, _Dictionary),
        **dict.fromkeys(_CONFIGS, _Config),
        # The unrestricted one would reach any object.
        "builtins.getattr": _statistic,
    }
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # NumPy 1 and 2
        aliases[f"{module}._reconstruct"] = multiarray._reconstruct
        aliases[f"{module}.scalar"] = multiarray.scalar
    return [
        *((value, name) for name, value in aliases.items()),
        HistoryBuffer,
        argparse.Namespace,
        types.SimpleNamespace,
        *_VALUES,
        *_TIMES,
        np.ndarray,
        np.dtype,
        *{type(kind) for kind in kinds},
        *{kind.type for kind in kinds},
    ]


def refused_object(message: str) -> str | None:
    """Return the name of the object that PyTorch's message is about, if it names one."""
    found = next((match for each in _REFUSED if (match := each.search(message))), None)
    return None if found is None else found[1]


class _Dictionary:
    """Makes a plain dictionary where a file names one with attributes or defaults."""

    def __new__(cls, *arguments: Any) -> Any:
        # An ordered one, since PyTorch sets the state of no other.
        return OrderedDict(*(each for each in arguments if isinstance(each, Mapping)))


class _Config:
    """The state of a config object, which is not read as a config."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _statistic(owner: Any, name: str) -> Any:
    """Return a method of MMEngine's history of numbers, which names its statistics so."""
    if owner is not HistoryBuffer or name.startswith("_"):
        held = getattr(owner, "__qualname__", type(owner).__qualname__)
        raise UnpicklingError(f"unsupported GLOBAL {held}.{name} whose use is blocked")
    return getattr(owner, name)
