"""The library against recordings of the original implementations.

``pytest tests/golden --golden-dir DIR`` checks any folder of recordings. A family of items is one
module, listed in ``FAMILIES``, with ``ADAPTERS`` by item and ``TOLERANCES`` by array.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from . import im
from .compare import DIFFERENCES, NOT_COVERED, Adapter, differences, load

FAMILIES = (im,)
ADAPTERS: dict[str, Adapter] = {}
TOLERANCES: dict[str, float] = {}
for family in FAMILIES:
    ADAPTERS |= family.ADAPTERS
    TOLERANCES |= family.TOLERANCES


@pytest.mark.parametrize("item", sorted(ADAPTERS))
def test_item_agrees_with_its_recording(item, golden_dir: Path, record_property):
    path = golden_dir / f"{item}.npz"
    if not path.is_file():
        pytest.skip(f"{golden_dir} has no {path.name}")
    recording = load(path)
    found = differences(recording, ADAPTERS[item](recording), TOLERANCES)
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
