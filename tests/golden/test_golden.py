"""The library against recordings of the original implementations.

``pytest tests/golden --golden-dir DIR`` checks any folder of recordings: of an item the file
``ITEM.npz`` and any like ``ITEM_seed2.npz``. A family of items is one
module, listed in ``FAMILIES``, with ``ADAPTERS`` by item, ``TOLERANCES`` by array, and maybe
``FLOATS`` for all its floating-point arrays.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from . import (
    crossmatch,
    daw,
    evaluate,
    fixmatch,
    fpl,
    im,
    imas,
    rankmatch,
    u2pl,
    unimatch,
    unimatch_v2,
)
from .compare import DIFFERENCES, LOSSES, NOT_COVERED, Adapter, Tolerance, differences, load

FAMILIES = (
    im,
    fixmatch,
    unimatch,
    unimatch_v2,
    daw,
    evaluate,
    crossmatch,
    imas,
    fpl,
    u2pl,
    rankmatch,
)
ADAPTERS: dict[str, Adapter] = {}
TOLERANCES: dict[str, dict[str, Tolerance]] = {}
FLOATS: dict[str, Tolerance] = {}
for family in FAMILIES:
    ADAPTERS |= family.ADAPTERS
    TOLERANCES |= dict.fromkeys(family.ADAPTERS, family.TOLERANCES)
    FLOATS |= dict.fromkeys(family.ADAPTERS, getattr(family, "FLOATS", LOSSES))


@pytest.mark.parametrize("item", sorted(ADAPTERS))
def test_item_agrees_with_its_recording(item, golden_dir: Path, record_property):
    paths = [path for path in sorted(golden_dir.glob("*.npz")) if recorded_item(path) == item]
    if not paths:
        pytest.skip(f"{golden_dir} has no {item}.npz")
    failed = []
    for path in paths:
        recording = load(path)
        outputs = ADAPTERS[item](recording)
        found = differences(recording, outputs, TOLERANCES[item], FLOATS[item])
        assert found, f"{path} records no outputs"
        record_property(DIFFERENCES, (path.stem, [tuple(each) for each in found]))
        failed += [f"{path.stem}: {each}" for each in found if not each.passes]
    assert not failed


def test_folder_has_recordings_that_are_covered(golden_dir: Path, record_property):
    items = {path.stem: recorded_item(path) for path in golden_dir.glob("*.npz")}
    record_property(NOT_COVERED, sorted(name for name, item in items.items() if item is None))
    assert any(items.values()), (
        f"{golden_dir} has no recording of a covered item: give another --golden-dir "
        f"(covered are {', '.join(sorted(ADAPTERS))})"
    )


@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("imas__ema", "imas__ema"),
        ("imas__ema_seed-2", "imas__ema"),
        ("imas__ema.b", "imas__ema"),
        ("imas__emax", None),
        ("vit__ema", None),
    ],
)
def test_item_of_a_recording_is_what_its_name_begins_with(name, item):
    assert recorded_item(Path(f"{name}.npz")) == item


def recorded_item(path: Path) -> str | None:
    """Return the covered item that a file records, with or without a suffix in its name."""
    begun = [each for each in ADAPTERS if re.match(rf"{each}(?![a-zA-Z0-9])", path.stem)]
    return max(begun, key=len, default=None)
