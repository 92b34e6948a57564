from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from im_bench.data.description import DataDescription, load_description
from im_bench.errors import ImBenchError
from im_bench.yaml_files import parse_document

BINARY = "name: a\nspace: binary\nclasses: [spot]\nencoding: index\n"
STREETS = "name: a\nspace: multiclass\nclasses: [road, car]\nencoding: index\n"
LAYERS = "name: a\nspace: multilabel\nclasses: [alive, dead, position]\nencoding: bits\n"
COLOURS = STREETS.replace("index", "palette") + "palette: {road: [0, 0, 0], car: [255, 0, 0]}\n"


def describe(text: str) -> DataDescription:
    return parse_document(text, "a.yaml").validate(DataDescription)


def test_what_is_left_out_has_a_plain_default() -> None:
    description = describe(BINARY)
    assert description.images == "images/{split}"
    assert description.masks == "masks/{split}"
    assert description.split_folders == {"train": "train", "val": "val", "test": "test"}
    assert description.metric == "iou"
    assert describe(STREETS).metric == describe(LAYERS).metric == "miou"


@pytest.mark.parametrize(
    ("text", "names", "outputs", "ignored"),
    [
        (BINARY, ("spot",), 1, 255),
        (STREETS, ("road", "car"), 2, 255),
        (STREETS + "reserve_zero: true\n", ("void", "road", "car"), 3, 255),
        (LAYERS, ("alive", "dead", "position"), 3, None),
    ],
)
def test_the_label_space_follows(
    text: str, names: tuple[str, ...], outputs: int, ignored: int | None
) -> None:
    description = describe(text)
    assert description.class_names == names
    assert description.outputs == outputs
    assert description.ignore_label == ignored


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BINARY.replace("[spot]", "[spot, dot]"), "a.yaml:3: classes: binary data has at most 1"),
        (STREETS.replace("car", "road"), "a.yaml:3: classes.1: the name 'road' is taken"),
        (
            STREETS.replace("car", "void") + "reserve_zero: true\n",
            "a.yaml:3: classes.1: the name 'void' is taken",
        ),
        (LAYERS.replace("dead", "a, b, c, d, e, f, dead"), "multilabel data has at most 8"),
        (BINARY + "reserve_zero: true\n", "a.yaml:5: reserve_zero: binary data has no class 0"),
        (BINARY + "metric: miou\n", "a.yaml:5: metric: miou does not fit binary: use iou"),
        (LAYERS + "metric: mcce\n", "a.yaml:5: metric: mcce counts cells"),
        (LAYERS + "cells: {alive: 0, dead: 1, position: 3}\n", "a.yaml:5: cells.position: there"),
        (LAYERS + "cells: {alive: 0, dead: 0, position: 2}\n", "a.yaml:5: cells.alive: channel 0"),
        (STREETS + "cells: {alive: 0, dead: 1, position: 2}\n", "a.yaml:5: cells: only multilabel"),
        (STREETS.replace("index", "bits"), "a.yaml:4: encoding: bits does not fit multiclass"),
        (LAYERS.replace("bits", "files"), "a.yaml:1: {class} goes with encoding: files"),
        (STREETS + "masks: masks/{split}/{class}\n", "a.yaml:5: masks: {class} goes with"),
        (STREETS + "threshold: 10\n", "a.yaml:5: threshold: encoding index uses none"),
        (STREETS + "palette: {road: [0, 0, 0]}\n", "a.yaml:5: palette: goes with"),
        (
            COLOURS.replace(", car: [255, 0, 0]", ""),
            "a.yaml:5: palette: there is no colour for car",
        ),
        (COLOURS.replace("255, 0, 0", "0, 0, 0"), "a.yaml:5: palette.road: the colour [0, 0, 0]"),
        (COLOURS.replace("255, 0", "256, 0"), "a.yaml:5: palette.car.0: input should be less than"),
        (COLOURS.replace("}", ", sky: [1, 1, 1]}"), "a.yaml:5: palette.sky: is no class"),
        (COLOURS + "ignore: [255]\n", "a.yaml:6: ignore.0: 255 should be a colour"),
        (STREETS + "ignore: [[1, 2, 3]]\n", "a.yaml:5: ignore.0: (1, 2, 3) should be a raw mask"),
        (LAYERS + "ignore: [255]\n", "a.yaml:5: ignore: multilabel data cannot ignore"),
        (BINARY + "images: pictures\n", "a.yaml:1: {split} has to stand in both"),
        (BINARY + "images: a\nmasks: b\n", "nothing says which images are val"),
        (BINARY + "images: a\nmasks: b\nsplits: {train: t}\n", "a.yaml:7: splits: goes with"),
        (BINARY + "splits: {train: t, test: u}\n", "a.yaml:5: splits: nothing says which images"),
        (
            BINARY + "splits: {train: t, val: v, test: u}\nfractions: {val: 0.1}\n",
            "a.yaml:6: fractions.val: val has a folder",
        ),
        (BINARY + "fractions: {val: 0.5, test: 0.5}\n", "a.yaml:5: fractions: val and test leave"),
        (BINARY + "fractions: {val: 1.5}\n", "a.yaml:5: fractions.val: input should be less"),
        (BINARY + "chanels: grey\n", "did you mean 'channels'?"),
        (BINARY.replace("name: a", "name: a/b"), "a.yaml:1: name: "),
    ],
)
def test_fields_that_do_not_go_together_are_told_with_their_line(text: str, expected: str) -> None:
    with pytest.raises(ImBenchError) as caught:
        describe(text)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        COLOURS + "ignore: [[255, 255, 255]]\n",
        BINARY.replace("index", "palette") + "palette: {spot: [9, 9, 9], background: [1, 1, 1]}\n",
        LAYERS.replace("bits", "files") + "masks: masks/{split}/{class}\nthreshold: 127\n",
        LAYERS.replace("bits", "files") + "mask_suffix: _{class}\n",
        LAYERS + "metric: mcce\ncells: {alive: 0, dead: 1, position: 2}\n",
        BINARY.replace("index", "bits") + "metric: iou_dataset\n",
        BINARY + "images: a\nmasks: b\nfractions: {val: 0.1, test: 0.1}\n",
        BINARY + "splits: {train: t, test: u}\nfractions: {val: 0.1}\n",
        BINARY + "fractions: {val: 0.1, seed: 1}\n",
    ],
)
def test_fields_that_go_together_are_accepted(text: str) -> None:
    assert describe(text).name == "a"


def test_the_root_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IM_BENCH_TEST_ROOT", "/somewhere")
    monkeypatch.setenv("HOME", "/home/me")
    roots = {"${IM_BENCH_TEST_ROOT}/a": "/somewhere/a", "~/b": "/home/me/b", "c": f"{tmp_path}/c"}
    for root, expected in roots.items():
        assert describe(BINARY + f"root: {root}\n").data_root(tmp_path) == Path(expected)


@pytest.mark.parametrize(
    ("root", "expected"),
    [("${IM_BENCH_NOT_SET}/a", "IM_BENCH_NOT_SET is not set: export"), ("a$", "write [$][$]")],
)
def test_a_root_that_cannot_be_expanded_is_told(root: str, expected: str) -> None:
    with pytest.raises(ImBenchError, match=expected):
        describe(BINARY + f"root: {root}\n").data_root(Path())


def test_a_description_is_found_by_file_or_folder(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text(BINARY, encoding="utf-8")
    expected = (describe(BINARY), tmp_path)
    assert load_description(tmp_path) == load_description(tmp_path / "dataset.yaml") == expected
    with pytest.raises(ImBenchError, match=r"none: cannot be read"):
        load_description(tmp_path / "none")


def test_planning_needs_no_heavy_library() -> None:
    heavy = "{'torch', 'cv2', 'numpy', 'PIL'} & {*sys.modules}"
    code = f"import sys, im_bench.data.fingerprint; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


PAGE = Path(__file__).parents[2] / "docs" / "your-own-data.md"


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.S))
def test_the_examples_of_the_page_are_right(block: str) -> None:
    assert describe(block).encoding in block


def test_the_page_lists_every_field() -> None:
    table = PAGE.read_text("utf-8").split("## All fields")[1]
    assert set(re.findall(r"`(\w+)`", table)) >= set(DataDescription.model_fields)
