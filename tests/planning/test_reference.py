"""The reference of all fields says what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from im_bench.planning import reference
from im_bench.planning.reference import documented_fields, page

PAGE = Path(__file__).parents[2] / "docs" / "suite-reference.md"
MODELS = {
    title: model
    for models in (reference._SUITE, reference._METHODS, reference._DATA)
    for title, model in models.items()
}


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "write it anew: python -m im_bench.planning.reference > docs/suite-reference.md"
    )


@pytest.mark.parametrize("model", MODELS.values())
def test_every_field_has_a_meaning(model: type[BaseModel]) -> None:
    assert set(model.model_fields) <= set(documented_fields(model))


@pytest.mark.parametrize(
    "line",
    [
        "| `batch` | whole number above 0 | `32` |",
        "| `labelled` | number above 0 and at most 1 or `file` | `0.1` |",
        "| `size` | list of 2: whole number at least 16 | - |",
        "| `mode` | `whole`, `slide` | `whole` |",
        "| `name` | text | required |",
        "| `split_seed` | whole number | `42` |",
    ],
)
def test_values_and_defaults_are_said_in_words(line: str) -> None:
    assert line in page()


def test_types_that_no_schema_shows_have_words() -> None:
    assert reference._type(dict[str, bool | None]) == "mapping: `true` or `false`"
    assert reference._type(tuple[str, ...]) == "list: text"
