"""What of its data a run would refuse, found beforehand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from im_bench.data.layout import Layout
from im_bench.errors import ImBenchError
from im_bench.planning.plan import Plan, make_plan
from im_bench.planning.preflight import Census, size_problems, take_census
from im_bench.suites.schema import DataSpec

SUITE = """
name: suite
seeds: [1]
budget: equal
budgets: {equal: {iterations: 4}}
methods: {supervised: {}, fixmatch: {}, ldt: {members: 1}, fdt: {members: 1}, im: {}}
data:
  spots: {folder: ., model: {width: 0.25}, %s}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, count in (("train", 4), ("val", 1), ("test", 1)):
        for kind in ("images", "masks"):
            (tmp_path / kind / split).mkdir(parents=True)
            for index in range(count):
                picture = Image.fromarray(np.eye(16, dtype=np.uint8))
                picture.save(tmp_path / kind / split / f"{index}.png")
    text = "{name: spots, space: binary, classes: [spot], encoding: index, labelled: l.txt}"
    (tmp_path / "dataset.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "l.txt").write_text("0\n2\n", encoding="utf-8")
    return tmp_path


def plan(root: Path, fields: str) -> Plan:
    (root / "suite.yaml").write_text(SUITE % fields, encoding="utf-8")
    return make_plan(root / "suite.yaml", root / "out", root)


def problems(root: Path, fields: str) -> dict[str, str]:
    return {cell.method: cell.problem for cell in plan(root, fields).cells if cell.problem}


def census(root: Path, **fields: object) -> Census:
    return take_census(Layout.load(root), DataSpec(folder=".", **fields))  # type: ignore[arg-type]


def test_training_images_are_counted(root: Path) -> None:
    assert census(root, labelled=0.5) == Census(4, 2)
    assert census(root, labelled="file") == Census(4, 2)
    assert census(root, labelled=1.0, limit={"train": 3}) == Census(3, 3)
    assert census(root, labelled=1.0, hold_out=0.25) == Census(3, 3)
    (root / "masks/train/3.png").unlink()
    assert census(root, labelled=1.0) == Census(4, 3, 1)
    assert census(root, labelled=1.0, limit={"train": 3}) == Census(3, None, 1)


def test_who_needs_unlabelled_images_is_left_out_without_them(root: Path) -> None:
    assert problems(root, "labelled: 0.5") == {}
    refused = problems(root, "labelled: 1.0")
    assert set(refused) == {"fixmatch", "im"}
    assert set(refused.values()) == {
        "data set 'spots' has no unlabelled images: all 4 training images are labelled; choose a "
        "smaller `labelled` share"
    }


def test_who_needs_all_masks_is_left_out_without_them(root: Path) -> None:
    (root / "masks/train/3.png").unlink()
    made = plan(root, "labelled: file")
    refused = {cell.method: cell.problem for cell in made.cells if cell.problem}
    assert set(refused) == {"fdt"}
    assert "1 of 4 training images have no mask" in refused["fdt"]
    (warning,) = made.warnings["spots"]
    assert warning.endswith("1 training image has no mask and counts as unlabelled: 3.png")


def test_what_is_wrong_with_files_is_told_of_all_cells(root: Path) -> None:
    (root / "l.txt").write_text("0\n7\n", encoding="utf-8")
    assert problems(root, "labelled: 0.5") == {}, "the list is not used"
    told = set(problems(root, "labelled: file").values())
    assert len(told) == 1
    assert "7 is not among the training images" in told.pop()
    for path in (root / "images/val").iterdir():
        path.unlink()
    assert set(problems(root, "labelled: 0.5").values()) == {"data set spots: val has no images"}


def test_a_missing_list_is_told(root: Path) -> None:
    description = (root / "dataset.yaml").read_text(encoding="utf-8")
    text = description.replace(", labelled: l.txt", "")
    (root / "dataset.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ImBenchError, match="names no `labelled` file"):
        census(root, labelled="file")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("labelled: 0.5", r"val/0\.png: is 20x16 pixels but the first training image is 16x16"),
        ("labelled: 0.5, size: [16, 16], fit: pad", r"do not fit into the suite's 16x16"),
    ],
)
def test_other_sizes_are_found_by_headers(root: Path, fields: str, expected: str) -> None:
    assert size_problems(plan(root, fields)) == {}
    exif = Image.Exif()
    exif[0x0112] = 6  # Turned upright it is as wide as it is stored high.
    for kind in ("images", "masks"):
        picture = Image.fromarray(np.zeros((20, 16), np.uint8))
        picture.save(root / kind / "val" / "0.png", exif=exif)
    found = size_problems(plan(root, fields))
    assert set(found) == {"spots"}
    assert re.search(expected, found["spots"])
    assert size_problems(plan(root, "labelled: 0.5, size: [32, 32]")) == {}
