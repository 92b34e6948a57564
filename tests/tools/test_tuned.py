"""``--use-tuned`` of tools/train.py: a study's values in a config of MMSegmentation."""

from __future__ import annotations

from typing import Any

import pytest

from im_bench.errors import ImBenchError
from im_bench.tools.configs import load_config, mask_hooks, set_tuned
from im_bench.tuning.tuned import Tuned


def tuned(method: str, **values: Any) -> Tuned:
    return Tuned(
        study="mine",
        suite="cityscapes",
        method=method,
        data=("cityscapes-1-4",),
        seeds=(1001,),
        budget="paper",
        objective="training",
        metric="miou",
        sampler="tpe",
        pruner="median",
        trials={"complete": 1},
        trial=0,
        score=(0.5,),
        space={},
        values={name.replace("__", "."): value for name, value in values.items()},
    )


def test_a_methods_values_are_set() -> None:
    config = load_config("mm_configs/u2pl/u2pl_r50_cs_1-4.py")

    set_tuned(config, tuned("u2pl", drop_percent=70.0))

    assert config.model.method.drop_percent == 70.0
    assert config.model.method.name == "u2pl"


def test_values_of_masks_go_to_their_hook() -> None:
    config = load_config("mm_configs/im/u2pl_r50_cs_1-4.py")

    set_tuned(config, tuned("u2pl+im", im__erode=3, im__dilate=5, ema=0.97))

    (hook,) = mask_hooks(config)
    assert (hook["erode"], hook["dilate"]) == (3, 5)
    assert "im" not in config.model.method


def test_values_of_another_method_are_refused() -> None:
    config = load_config("mm_configs/imas/imas_r50_cs_1-4.py")

    with pytest.raises(ImBenchError, match="tuned 'u2pl', and this config is of 'imas'"):
        set_tuned(config, tuned("u2pl", drop_percent=70.0))


def test_values_of_masks_need_masks() -> None:
    config = load_config("mm_configs/u2pl/u2pl_r50_cs_1-4.py")

    with pytest.raises(ImBenchError, match="this config has none"):
        set_tuned(config, tuned("u2pl+im", im__erode=3))
