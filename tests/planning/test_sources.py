from __future__ import annotations

from pathlib import Path

import pytest

from im_bench.data.fingerprint import fingerprint
from im_bench.planning.sources import locate
from im_bench.suites.schema import DataSpec


def test_a_description_that_is_a_link_belongs_to_the_folder_of_the_link(tmp_path: Path) -> None:
    folder, store = tmp_path / "data" / "spots", tmp_path / "store"
    for part in ("images/train", "images/val", "images/test"):
        (folder / part).mkdir(parents=True)
        (folder / part.replace("images", "masks")).mkdir(parents=True)
    store.mkdir()
    (store / "1f2e.yaml").write_text(
        "{name: spots, space: binary, classes: [spot], encoding: index}", encoding="utf-8"
    )
    (folder / "dataset.yaml").symlink_to(store / "1f2e.yaml")
    source = locate("spots", DataSpec(), tmp_path / "suite.yaml", tmp_path / "data", tmp_path / "c")
    assert source.missing == "data set spots: train has no images"
    assert fingerprint(Path(source.paths["description"])) == source.identity["fingerprint"]


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Return a suite's folder and a data root."""
    return {"suite_file": tmp_path / "suites" / "own.yaml", "data_root": tmp_path / "data"}


def write_data(folder: Path, name: str = "dataset.yaml") -> Path:
    for part in ("train", "val", "test"):
        (folder / "images" / part).mkdir(parents=True)
        (folder / "masks" / part).mkdir(parents=True)
    description = folder / name
    description.write_text("{name: spots, space: binary, classes: [spot], encoding: index}")
    return description


@pytest.mark.parametrize("folder", ["spots", "./spots", "spots/", "spots/dataset.yaml"])
def test_a_relative_folder_is_looked_for_beside_the_suite_first(
    places: dict[str, Path], tmp_path: Path, folder: str
) -> None:
    def found() -> str:
        spec = DataSpec(folder=folder)
        return locate("x", spec, **places, cache=tmp_path / "c").paths["description"]

    below_root = write_data(tmp_path / "data" / "spots")
    assert found() == str(below_root)
    beside = write_data(tmp_path / "suites" / "spots")
    assert found() == str(beside)


def test_a_name_is_that_of_a_prepared_data_set(places: dict[str, Path], tmp_path: Path) -> None:
    write_data(tmp_path / "suites" / "spots")
    prepared = write_data(tmp_path / "data" / "spots")
    source = locate("spots", DataSpec(), **places, cache=tmp_path / "c")
    assert source.paths == {"description": str(prepared)}


def test_what_is_missing_names_all_places(places: dict[str, Path], tmp_path: Path) -> None:
    spec = DataSpec(folder="spots/own.yaml")
    missing = locate("x", spec, **places, cache=tmp_path / "c").missing
    for root in ("suites", "data"):
        assert str(tmp_path / root / "spots/own.yaml") in missing
    absolute = DataSpec(folder=str(tmp_path / "elsewhere"))
    missing = locate("x", absolute, **places, cache=tmp_path / "c").missing
    assert missing.count("elsewhere/dataset.yaml") == 1
