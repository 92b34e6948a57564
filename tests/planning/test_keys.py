"""Which fields of a suite enter which keys: as each says where it is declared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from im_bench.suites.schema import DataSpec, Enters
from im_bench.training.description import OnlineTraining, SupervisedTraining
from im_bench.training.specs import TrainingSpec

from .conftest import plan_of

DATA = {
    "synth": {"like": "isic2018", "train": 40},
    "size": [64, 64],
    "crop": [32, 32],
    "labelled": 0.5,
}
METHODS: dict[str, Any] = {"aldt": {"members": 1}, "fixmatch": {}, "me": {"generations": 1}}

CHANGES: dict[str, Any] = {
    "synth": {"like": "isic2018", "train": 44},
    "size": [80, 80],
    "fit": "pad",
    "labelled": 0.25,
    "split_seed": 7,
    "limit": {"val": 5},
    "hold_out": 0.25,
    "model": {"width": 0.5},
    "augmentation": {"free_rotation": False},
    "crop": [48, 48],
    "scale": [0.5, 1.5],
    "ohem": {"threshold": 0.6},
    "evaluation": {"mode": "slide", "window": 32, "stride": 16},
    "loss": "bce",
    "target_scale": [2.0],
    "monitor": "loss",
    "reference": "isic2018",
    "group": "skin",
    "resources": {"train": {"cpus": 2}},
}


def keys(folder: Path, data: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return the keys of a plan by what they are of; trainings by their configs alone."""
    plan = plan_of(folder, data={"lesions": dict(data)}, methods=METHODS)
    trainings = {str(sorted(s.config.items())) for s in plan.graph if s.kind == "train"}
    return {
        "data": {s.key for s in plan.graph if s.kind == "data"},
        "trainings": trainings,
        "all": {s.key for s in plan.graph},
    }


def test_each_field_of_a_data_set_says_which_keys_it_enters() -> None:
    for name, field in DataSpec.model_fields.items():
        assert sum(isinstance(one, Enters) for one in field.metadata) == 1, name
    # A folder enters by the content of its files: see the tests of sources.
    assert CHANGES.keys() == DataSpec.model_fields.keys() - {"folder"}


@pytest.mark.parametrize("name", CHANGES)
def test_a_field_enters_the_keys_that_it_says(name: str, tmp_path: Path) -> None:
    before, after = keys(tmp_path, DATA), keys(tmp_path, {**DATA, name: CHANGES[name]})
    (enters,) = (one for one in DataSpec.model_fields[name].metadata if isinstance(one, Enters))
    changed = {what for what in before if before[what] != after[what]}
    if enters is Enters.NOTHING:
        assert changed == set()
    elif enters is Enters.TRAINING:
        assert changed == {"trainings", "all"}
    else:
        # The labelled share is part of the seeds of trainings.
        assert changed - {"trainings"} == {"data", "all"}


def test_every_field_of_a_training_is_part_of_its_config() -> None:
    for description in (SupervisedTraining, OnlineTraining):
        assert TrainingSpec.model_fields.keys() <= description.model_fields.keys()
