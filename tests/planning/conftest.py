"""Suites as text, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from im_bench.planning.plan import Plan, make_plan

Make = Callable[..., Plan]

METHODS: dict[str, Any] = {
    "ldt": {"members": 3},
    "fdt": {"members": 2},
    "me": {"members": 3, "students": 2, "generations": 2},
    "im": {"members": 3, "students": 2, "generations": 2},
    "im-3": {"method": "im", "members": 3, "teachers": 3, "students": 3, "generations": 1},
}
DATA: dict[str, Any] = {
    "lesions": {"synth": {"like": "isic2018"}, "size": [32, 32]},
    "reef": {"synth": {"like": "suim"}, "size": [32, 32], "model": {"width": 0.5}},
}


def write_suite(folder: Path, **fields: Any) -> Path:
    """Write a suite file; fields replace those of the one above."""
    path = folder / "small.yaml"
    suite = {"name": "small", "seeds": [1, 2], "data": DATA, "methods": METHODS, **fields}
    path.write_text(yaml.safe_dump(suite, sort_keys=False))
    return path


def plan_of(folder: Path, chosen: dict[str, Any] | None = None, **fields: Any) -> Plan:
    """Return the plan of a suite with these fields, or of the chosen part of it."""
    folder.mkdir(exist_ok=True)
    path = write_suite(folder, **fields)
    return make_plan(path, folder / "runs", folder / "data", **(chosen or {}))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return the function that makes plans."""

    def make(chosen: dict[str, Any] | None = None, **fields: Any) -> Plan:
        return plan_of(tmp_path, chosen, **fields)

    return make
