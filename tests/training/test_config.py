from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from im_bench.data.pseudo_labels import write_pseudo_labels
from im_bench.errors import ImBenchError
from im_bench.training.config import (
    build_config,
    count_iterations,
    monitored_metric,
    resolve_device,
    segmentor_config,
)

from .conftest import train_config


@pytest.mark.parametrize(
    ("fields", "iterations"),
    [
        ({"budget": {"kind": "equal", "iterations": 7}}, 7),
        # 8 labelled images, 24 in all, batches of 4.
        ({"copies": 1}, 3 * 2),
        ({"copies": 10}, 3 * 20),
        ({"copies": 1, "part": "all"}, 3 * 6),
        ({"copies": 1, "batch": 64}, 3 * 1),
        ({"copies": 1, "batch": 5}, 3 * 1),
    ],
)
def test_iterations_follow_the_budget(
    data_dir: Path, fields: dict[str, object], iterations: int
) -> None:
    config = train_config(**{"budget": {"kind": "paper", "epochs": 3}, **fields})
    assert count_iterations(config, data_dir) == iterations


def test_pseudo_labelled_images_lengthen_an_epoch(data_dir: Path, tmp_path: Path) -> None:
    none = np.zeros((13, 32, 32), np.uint8)
    write_pseudo_labels(tmp_path, np.arange(13), none, none.astype(bool), blank=True)
    config = train_config(budget={"kind": "paper", "epochs": 2}, copies=1)
    assert count_iterations(config, data_dir, tmp_path) == 2 * ((8 + 13) // 4)


@pytest.mark.parametrize(("iterations", "validations"), [(12, 3), (10, 4), (3, 50)])
def test_validations_are_at_most_as_many_as_asked(
    data_dir: Path, iterations: int, validations: int
) -> None:
    config = train_config(
        budget={"kind": "equal", "iterations": iterations}, validations=validations
    )
    interval = build_config(config, data_dir, Path("x")).train_cfg.val_interval
    assert 1 <= -(-iterations // interval) <= validations


def test_one_in_ten_images_of_aldt_stays_clean(data_dir: Path) -> None:
    def share(**fields: object) -> float:
        config = build_config(train_config(**fields), data_dir, Path("x"))
        return float(config.model.data_preprocessor.augmentation.clean_share)

    assert share(copies=10) == 0.1
    assert share(copies=1) == 0
    plain = build_config(train_config(augmentation=None), data_dir, Path("x"))
    assert plain.model.data_preprocessor.augmentation is None


def test_precision_is_what_the_suite_says_on_any_device() -> None:
    meta = {"space": "binary", "outputs": 1, "channels": 1}
    for precision in ("float32", "bfloat16"):
        assert segmentor_config(train_config(precision=precision), meta)["precision"] == precision


def test_a_network_of_ones_own(data_dir: Path) -> None:
    meta = json.loads((data_dir / "meta.json").read_text())
    network = {"backbone": {"type": "ResNet"}, "decode_head": {"type": "FCNHead"}, "width": 1.0}
    config = segmentor_config(train_config(model=network), meta)
    assert config["backbone"] == {"type": "ResNet"}
    assert config["decode_head"] == {"type": "FCNHead"}
    assert "auxiliary_head" not in config


def test_the_headline_is_monitored_unless_said(data_dir: Path) -> None:
    meta = json.loads((data_dir / "meta.json").read_text())
    assert monitored_metric(train_config(), meta) == "iou"
    assert monitored_metric(train_config(monitor="loss"), meta) == "loss"


@pytest.mark.parametrize(
    ("budget", "share"),
    [
        ({"kind": "equal", "iterations": 20}, 0.1),
        ({"kind": "equal", "iterations": 200}, 0.05),
        ({"kind": "equal", "iterations": 600}, 1 / 60),
        ({"kind": "equal", "iterations": 1000}, 0.01),
        ({"kind": "equal", "iterations": 90_000}, 0.01),
        ({"kind": "paper", "epochs": 100}, 0.05),  # of 8 labelled images, 4 a batch
    ],
)
def test_short_trainings_forget_the_initial_statistics_in_time(
    data_dir: Path, tmp_path: Path, budget: dict[str, Any], share: float
) -> None:
    def momentum(**fields: Any) -> float:
        config = train_config(budget=budget, model={"width": 0.25}, **fields)
        built = build_config(config, data_dir, tmp_path)
        return float(built.model.backbone.norm_momentum)

    assert momentum() == pytest.approx(share)
    # LDT, FDT, ME and IM have the same, so that it is no difference between methods.
    assert momentum(part="all", copies=10) == momentum()


def test_a_momentum_that_a_suite_gives_holds(data_dir: Path) -> None:
    budget = {"kind": "equal", "iterations": 20}
    config = train_config(budget=budget, model={"width": 0.25, "norm_momentum": 0.01})
    built = build_config(config, data_dir, Path("x"))
    assert built.model.backbone.norm_momentum == 0.01


@pytest.mark.parametrize("name", ["tpu0", "cuda:99", "nonsense"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ImBenchError, match=name):
        resolve_device(name)


def test_auto_is_always_there() -> None:
    assert resolve_device("auto").type in ("cpu", "cuda")
