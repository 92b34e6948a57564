from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from im_bench.errors import ImBenchError
from im_bench.yaml_files import FieldError, load_model, parse_document


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Circle(Strict):
    kind: Literal["circle"]
    radius: float


class Square(Strict):
    kind: Literal["square"]
    side: float


class Drawing(Strict):
    name: str
    shapes: dict[str, Annotated[Circle | Square, Field(discriminator="kind")]] = {}
    points: list[tuple[int, int]] = []
    scale: float | Literal["auto"] = 1.0

    @field_validator("name")
    @classmethod
    def _is_short(cls, name: str) -> str:
        if len(name) > 8:
            raise ValueError("has more than 8 letters")
        return name

    @model_validator(mode="after")
    def _has_few_points(self) -> Drawing:
        if len(self.points) > len(self.shapes):
            raise FieldError(("points",), "there are more points than shapes")
        return self


GOOD = """\
name: first
shapes:
  sun: {kind: circle, radius: 2}
  house:
    kind: square
    side: 3
points:
  - [1, 2]
  - [3, 4]
"""


def message(text: str) -> str:
    with pytest.raises(ImBenchError) as caught:
        parse_document(text, "a.yaml").validate(Drawing)
    return str(caught.value)


def test_a_good_text_becomes_the_model() -> None:
    drawing = parse_document(GOOD, "a.yaml").validate(Drawing)
    assert drawing.shapes == {
        "sun": Circle(kind="circle", radius=2),
        "house": Square(kind="square", side=3),
    }
    assert drawing.points == [(1, 2), (3, 4)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: first", "name: [", "a.yaml:3: is not valid YAML: expected"),
        ("name: first", "naem: first", "a.yaml:1: naem: unknown field 'naem': did you mean 'name'"),
        ("name: first\n", "", "a.yaml:1: the field 'name' is missing"),
        ("name: first", "name: first and long", "a.yaml:1: name: has more than 8 letters"),
        ("side: 3", "side: wide", "a.yaml:6: shapes.house.side: input should be a valid number"),
        ("side: 3", "sides: 3", "known are kind, side"),
        ("    side: 3\n", "", "a.yaml:4: shapes.house: the field 'side' is missing"),
        ("[3, 4]", "[3, up]", "a.yaml:9: points.1.1: input should be a valid integer"),
        ("name: first", "name: first\nscale: big", "a.yaml:2: scale: input should be a valid num"),
        ("points:", "name: second\npoints:", "a.yaml:7: name stands twice"),
        ("  - [3, 4]", "  - [3, 4]\n  - [5, 6]", "a.yaml:7: points: there are more points than"),
        ("kind: square", "kind: hexagon", "a.yaml:4: shapes.house: "),
    ],
)
def test_an_error_names_file_line_and_field(old: str, new: str, expected: str) -> None:
    text = message(GOOD.replace(old, new))
    assert expected in text
    assert "\n" not in text


def test_all_complaints_about_one_value_stand_together() -> None:
    text = message(GOOD + "scale: big\n")
    assert text.count("a.yaml:") == 1
    assert "'auto'" in text


def test_many_complaints_are_cut_short() -> None:
    assert message("a: 1\nb: 2\nc: 3\nd: 4\nname: x\n").endswith("; and 1 more")


def test_an_empty_text_lacks_its_fields() -> None:
    assert message("") == "a.yaml:1: the field 'name' is missing"


def test_a_text_that_is_no_mapping_is_refused() -> None:
    assert message("- 1\n").startswith("a.yaml:1: input should be a mapping of fields")


def test_merge_keys_and_cycles_are_understood() -> None:
    document = parse_document("base: &b {x: 1}\nhere: {<<: *b, x: 2}\n", "a.yaml")
    assert document.value["here"] == {"x": 2}
    assert document.line(("here", "x")) == 2
    assert parse_document("&a [*a]\n", "a.yaml").value is not None


def test_a_part_of_a_document_is_validated_with_its_own_lines() -> None:
    document = parse_document("shapes:\n  sun:\n    kind: circle\n    radius: wide\n", "a.yaml")
    with pytest.raises(ImBenchError, match=r"a\.yaml:4: shapes\.sun\.radius: "):
        document.validate(Circle, ("shapes", "sun"))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImBenchError, match=r"none\.yaml: cannot be read: No such file"):
        load_model(tmp_path / "none.yaml", Drawing)
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    with pytest.raises(ImBenchError, match="not UTF-8"):
        load_model(tmp_path / "latin.yaml", Drawing)


def test_the_module_needs_no_heavy_library() -> None:
    heavy = "{'torch', 'cv2', 'numpy'} & {*sys.modules}"
    code = f"import sys, im_bench.yaml_files; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
