"""The library against recordings of the original implementations.

``pytest tests/golden --golden-dir DIR`` checks any folder of recordings. A family of items is one
module, listed in ``FAMILIES``, with ``ADAPTERS`` by item, ``TOLERANCES`` by array, and maybe
``FLOATS`` for all its floating-point arrays.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from . import crossmatch, evaluate, fixmatch, fpl, im, imas, u2pl, unimatch
from .compare import DIFFERENCES, LOSSES, NOT_COVERED, Adapter, Tolerance, differences, load

FAMILIES = (im, fixmatch, unimatch, evaluate, crossmatch, imas, fpl, u2pl)
ADAPTERS: dict[str, Adapter] = {}
TOLERANCES: dict[str, dict[str, Tolerance]] = {}
FLOATS: dict[str, Tolerance] = {}
for family in FAMILIES:
    ADAPTERS |= family.ADAPTERS
    TOLERANCES |= dict.fromkeys(family.ADAPTERS, family.TOLERANCES)
    FLOATS |= dict.fromkeys(family.ADAPTERS, getattr(family, "FLOATS", LOSSES))


@pytest.mark.parametrize("item", sorted(ADAPTERS))
def test_item_agrees_with_its_recording(item, golden_dir: Path, record_property):
    path = golden_dir / f"{item}.npz"
    if not path.is_file():
        pytest.skip(f"{golden_dir} has no {path.name}")
    recording = load(path)
    outputs = ADAPTERS[item](recording)
    found = differences(recording, outputs, TOLERANCES[item], FLOATS[item])
    assert found, f"{path} records no outputs"
    record_property(DIFFERENCES, (item, [tuple(each) for each in found]))
    assert not [str(each) for each in found if not each.passes]


def test_folder_has_recordings_that_are_covered(golden_dir: Path, record_property):
    items = {path.stem for path in golden_dir.glob("*.npz")}
    record_property(NOT_COVERED, sorted(items - set(ADAPTERS)))
    assert items & set(ADAPTERS), (
        f"{golden_dir} has no recording of a covered item: give another --golden-dir "
        f"(covered are {', '.join(sorted(ADAPTERS))})"
    )
