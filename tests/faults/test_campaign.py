"""Hundreds of faults, each followed by the same command again: what is promised must hold.

By default one round of most kinds; ``pytest tests/faults --faults 300 --seed 7 --report FILE`` has
so many and writes what was seen. A round that fails is repeated by its name, as ``pytest
tests/faults --faults 300 --seed 7 -k kill_stage-17``; threads and processes still have moments of
their own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .arena import UNHARMED, Arena, Ground
from .kinds import LIGHT, REAL, rounds
from .trainings import Calm, Trainings


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("name", rounds(metafunc.config.getoption("--faults")))


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calm:
    """An undisturbed run of real trainings."""
    return Calm(tmp_path_factory.mktemp("calm"))


def test_nothing_is_lost(
    name: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, Any], None],
) -> None:
    kind, _, _ = name.rpartition("-")
    chance = random.Random(f"{request.config.getoption('--seed')} {name}")
    ground: Ground
    if kind in LIGHT:
        ground = Arena(tmp_path, chance)
    else:
        ground = Trainings(tmp_path, chance, request.getfixturevalue("calm"))
    try:
        {**LIGHT, **REAL}[kind](ground)
    finally:
        ground.clear()
        record_property("kind", kind)
        record_property("faults", ground.seen.faults)
    record_property("outcome", ground.seen.outcome if ground.seen.faults else UNHARMED)
