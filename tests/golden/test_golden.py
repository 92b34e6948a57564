"""The library against recordings of the original implementations.

``pytest tests/golden --golden-dir DIR`` checks any folder of recordings. Families of items are
registered in ``FAMILIES``, one module each.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from . import im
from .compare import PROPERTY, Adapter, differences, load

FAMILIES = (im,)
ADAPTERS: dict[str, Adapter] = {
    item: a for family in FAMILIES for item, a in family.ADAPTERS.items()
}
TOLERANCES = {name: value for family in FAMILIES for name, value in family.TOLERANCES.items()}


@pytest.mark.parametrize("item", sorted(ADAPTERS))
def test_item_agrees_with_its_recording(item, golden_dir: Path, record_property):
    path = golden_dir / f"{item}.npz"
    if not path.is_file():
        pytest.skip(f"{golden_dir} has no {path.name}")
    recording = load(path)
    found = differences(recording, ADAPTERS[item](recording), TOLERANCES)
    for difference in found:
        record_property(PROPERTY, f"{item:<24} {difference}")
    assert found, f"{path} records no outputs"
    assert not [str(each) for each in found if not each.passes]


def test_folder_has_recordings_that_are_covered(golden_dir: Path, record_property):
    items = {path.stem for path in golden_dir.glob("*.npz")}
    covered = items & set(ADAPTERS)
    for item in sorted(items - covered):
        record_property(PROPERTY, f"{item:<24} not covered")
    assert covered, (
        f"{golden_dir} has no recordings of the covered items ({', '.join(sorted(ADAPTERS))}): "
        "give another --golden-dir"
    )
