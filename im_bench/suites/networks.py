"""What the networks of a suite need that is not here: packages, files of weights, own modules.

Nothing is imported for it, so that it is found while a suite is planned.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from im_bench.own_code import exists
from im_bench.suites.graph import Stage

#: Packages that registered types need, by the type or by the scope before its dot.
_PACKAGES = {
    "DINOv2": "transformers",
    "TIMMBackbone": "timm",
    **{scope: scope for scope in ("mmpretrain", "mmdet", "mmdet3d", "mmpose", "mmcls")},
}
_EXTRAS = {"transformers": "im-bench[dinov2]"}
_SIZES = {"s": "small", "b": "base", "l": "large", "g": "giant"}
#: What MMEngine does not read from a file of this machine.
_ELSEWHERE = ("s3:", "petrel:", "hdfs:")


@dataclass(frozen=True)
class Needs:
    """What networks need that is not here.

    Attributes:
        missing: Why they cannot be trained, one sentence each.
        downloads: What is fetched from the network when a training begins.
    """

    missing: tuple[str, ...] = ()
    downloads: tuple[str, ...] = ()


def needs_of_networks(stages: Iterable[Stage]) -> Needs:
    """Return what the networks of trainings need that is not here.

    Args:
        stages: Any; those that are no trainings need nothing.
    """
    missing: dict[str, None] = {}
    downloads: dict[str, None] = {}
    for stage in stages:
        if stage.kind != "train":
            continue
        for network in (stage.config["model"], stage.config.get("twin") or {}):
            if network.get("backbone") or network.get("custom_imports"):
                found = _needs_of(json.dumps(network, sort_keys=True))
                missing |= dict.fromkeys(found.missing)
                downloads |= dict.fromkeys(found.downloads)
    return Needs(tuple(missing), tuple(downloads))


@cache
def _needs_of(network: str) -> Needs:
    config = json.loads(network)
    missing = [
        f"custom_imports of the model: there is no module {module!r}: install it, or correct its "
        "name"
        for module in config.get("custom_imports") or ()
        if not exists(module)
    ]
    parts = list(_mappings(config))
    packages = dict.fromkeys(filter(None, (_package(part) for part in parts)))
    for package in packages:
        if find_spec(package) is None:
            install = _EXTRAS.get(package, package)
            missing.append(
                f"the network needs {package}, which is not installed: pip install '{install}'"
            )
    downloads = []
    for weights in dict.fromkeys(w for part in parts for w in _weights(part)):
        file, cached = _place(weights)
        if file is not None and not file.is_file():
            from_here = "" if file.is_absolute() else f", which is relative to {Path.cwd()}"
            missing.append(
                f"the network's weights {weights} are not there: correct the path{from_here}"
            )
        elif not cached:
            downloads.append(
                f"{weights} will be downloaded: it is not in the cache of this machine"
            )
    return Needs(tuple(missing), tuple(downloads))


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _mappings(each)


def _package(part: Mapping[str, Any]) -> str | None:
    kind = part.get("type")
    if not isinstance(kind, str):
        return None
    scope, dot, name = kind.rpartition(".")
    return _PACKAGES.get(scope if dot and scope in _PACKAGES else name)


def _weights(part: Mapping[str, Any]) -> Iterator[str]:
    """Give what a part of a config names as its initial weights."""
    kind = str(part.get("type", "")).rpartition(".")[2]
    if kind == "DINOv2":
        weights = part.get("weights")
        if weights == "hub":
            yield f"hub:facebook/dinov2-{_SIZES.get(str(part.get('size', 's')))}"
        elif isinstance(weights, str) and weights != "random":
            yield os.path.expandvars(weights)
    named = part.get("checkpoint") if kind == "Pretrained" else part.get("pretrained")
    if isinstance(named, str):
        yield named


def _place(weights: str) -> tuple[Path | None, bool]:
    """Return the file that weights must lie in, if it is one of the user's; and whether it is here.

    Weights of a hub have no such file; then the second value says whether its cache has them.
    """
    scheme, colon, name = weights.partition(":")
    if colon and scheme == "hub":
        return None, any(
            (_hub_cache() / f"models--{name.replace('/', '--')}").glob("snapshots/*/*")
        )
    if weights.startswith(("http://", "https://")):
        return None, (_torch_cache() / weights.rpartition("/")[2].partition("?")[0]).is_file()
    if "://" in weights:  # torchvision://resnet50, open-mmlab://resnet50_v1c and the like
        stem = name.strip("/").rpartition("/")[2]
        return None, any(_torch_cache().glob(f"{stem}[-.]*"))
    if weights.startswith(_ELSEWHERE):
        return None, True
    return Path(weights).expanduser(), True


def _hub_cache() -> Path:
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    return Path(os.environ.get("HF_HUB_CACHE", f"{home}/hub")).expanduser()


def _torch_cache() -> Path:
    return Path(os.environ.get("TORCH_HOME", "~/.cache/torch")).expanduser() / "hub/checkpoints"
