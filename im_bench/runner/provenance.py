"""Where and with what an attempt runs: enough to say later which code made a number."""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Collection
from datetime import datetime, timezone
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from im_bench import __version__
from im_bench.own_code import distribution_of, file_of
from im_bench.runner.job import Settings

#: Modules whose versions are recorded. The OpenMMLab ones come from several distributions.
MODULES = ("torch", "mmengine", "mmcv", "mmseg", "numpy", "cv2")
#: The distributions that may bring a module, the first being the one that is installed with ours.
DISTRIBUTIONS = {
    "mmengine": ("onedl-mmengine", "mmengine"),
    "mmcv": ("onedl-mmcv", "mmcv", "mmcv-lite"),
    "mmseg": ("onedl-mmsegmentation", "mmsegmentation"),
    "cv2": ("opencv-python", "opencv-python-headless"),
}


def provenance(settings: Settings, own_code: Collection[str] = ()) -> dict[str, Any]:
    """Return what is recorded at the start of an attempt.

    Args:
        settings: Of the attempt.
        own_code: Modules outside im-bench that it runs.
    """
    commit, dirty = code_state()
    return {
        "commit": commit,
        "dirty": dirty,
        "versions": dict(versions()),
        "device": device_name(settings.device),
        "host": socket.gethostname(),
        "threads": settings.threads,
        "command": sys.argv,
        "start": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **({"own_code": {name: _own_code(name) for name in own_code}} if own_code else {}),
    }


def _own_code(module: str) -> dict[str, Any]:
    """Return the distribution that brings a module, its version, and the commit of its checkout."""
    distribution, file = distribution_of(module), file_of(module)
    tracked = file is not None and _git(file.parent, "ls-files", "--error-unmatch", file.name)
    commit, dirty = _commit(file.parent) if file is not None and tracked else (None, None)
    return {
        "distribution": distribution,
        "version": distribution and metadata.version(distribution),
        "commit": commit,
        "dirty": dirty,
    }


@cache
def code_state() -> tuple[str | None, bool | None]:
    """Return the commit of im-bench's own checkout and whether files differ from it.

    Asked for once per process, at best when the code is loaded: later edits are not what runs.
    Both are None where im-bench is installed without its repository.
    """
    root = Path(__file__).resolve().parents[2]
    return _commit(root) if (root / ".git").exists() else (None, None)


def _commit(folder: Path) -> tuple[str | None, bool | None]:
    said = _git(folder, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")
    if said is None:
        return None, None
    commit, _, dirty = said.partition("-")
    return commit, bool(dirty)


def _git(folder: Path, *words: str) -> str | None:
    """Return what git says in a folder; None where it fails."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout.strip()


@cache
def versions() -> dict[str, str | None]:
    """Return the versions of im-bench, Python and the libraries that make the numbers."""
    return {
        "im-bench": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in MODULES},
    }


def _version(module: str) -> str | None:
    if loaded := getattr(sys.modules.get(module), "__version__", None):
        return str(loaded)
    for distribution in DISTRIBUTIONS.get(module, (module,)):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def device_name(device: str) -> str:
    """Return the name of the GPU, or of the processor and its number of cores.

    Args:
        device: A torch device, or ``"auto"`` for CUDA where there is one.
    """
    if device.startswith("cuda") or (device == "auto" and shutil.which("nvidia-smi")):
        import torch

        if torch.cuda.is_available():
            return str(torch.cuda.get_device_name(None if device == "auto" else device))
    return f"{_processor()}, {os.cpu_count()} cores"


def is_processor(name: str) -> bool:
    """Return whether `device_name` has named a processor rather than a GPU."""
    return re.search(r", \d+ cores$", name) is not None


def devices_here() -> list[str]:
    """Return the names of this machine's GPUs, then of its processor, without loading PyTorch."""
    return [*gpus_here(), device_name("cpu")]


def gpus_here() -> list[str]:
    """Return the names of the GPUs that the driver of this machine sees."""
    ask = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [] if done.returncode else done.stdout.split("\n")[:-1]


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    names = (line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line)
    return next(names, platform.processor() or platform.machine())
