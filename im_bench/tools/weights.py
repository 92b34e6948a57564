"""Initial weights of backbones, named on the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from im_bench.errors import ImBenchError

RANDOM = "random"


def set_backbone_weights(config: Any, names: Sequence[str]) -> None:
    """Let backbones begin with other weights than the config says.

    Args:
        config: Of MMSegmentation; its model may be semi-supervised.
        names: A file for each backbone, in the order of the config: the segmentor's, then its
            twin's. Or ``random``, to begin without weights.

    Raises:
        ImBenchError: A file does not exist, or there are more or fewer names than backbones.
    """
    if not names:
        return
    backbones = _backbones(config.model)
    if len(names) != len(backbones):
        raise ImBenchError(
            f"--backbone-weights names {len(names)} weights, and the config has {len(backbones)} "
            f"backbones ({', '.join(backbones)}): name one for each, in this order"
        )
    for name, backbone in zip(names, backbones.values(), strict=True):
        path = Path(os.path.expandvars(name)).expanduser()
        if name != RANDOM and not path.is_file():
            raise ImBenchError(
                f"weights {name} do not exist: name a file, or '{RANDOM}' to begin without"
            )
        value = RANDOM if name == RANDOM else str(path)
        if "weights" in backbone:
            backbone["weights"] = value
        elif value == RANDOM:
            backbone["init_cfg"] = None
        else:
            backbone["init_cfg"] = {"type": "Pretrained", "checkpoint": value}


def _backbones(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configs of all backbones, by their place in the config."""
    places = {"model": model, **{f"model.{n}": model.get(n) for n in ("segmentor", "twin")}}
    return {
        f"{place}.backbone": part["backbone"]
        for place, part in places.items()
        if part is not None and "backbone" in part
    }
