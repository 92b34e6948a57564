"""The reference of all fields of suites and data descriptions, made from their models.

``python -m im_bench.planning.reference > docs/suite-reference.md`` writes its page.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from im_bench.data.description import Cells, DataDescription, Fractions
from im_bench.schedules.online import (
    GenerationalMasking,
    NetworkSpec,
    OnlineSchedule,
    TrainingOverrides,
)
from im_bench.suites import schema
from im_bench.suites.resources import Resources
from im_bench.training import specs

_HEAD = """\
# All fields of a suite

This page is generated: `python -m im_bench.planning.reference > docs/suite-reference.md`.
How to write a suite: [your own suite](your-own-suite.md). A field that does not exist is told with
file, line and the nearest one that does. Where the default is `-`, the meaning says what holds
without the field.
"""
_SUITE: dict[str, type[BaseModel]] = {
    "The file": schema.Suite,
    "`budgets.paper`": schema.PaperBudget,
    "`budgets.equal`": schema.EqualBudget,
    "`training`": specs.TrainingSpec,
    "`data`: a data set": schema.DataSpec,
    "`synth` of a data set": schema.SynthSpec,
    "`model` of a data set": specs.ModelSpec,
    "`evaluation` of a data set": specs.EvaluationSpec,
    "`augmentation` of a data set": specs.AugmentationSpec,
    "`ohem` of a data set": specs.OhemSpec,
    "`resources` of a kind of stage": Resources,
}
_METHODS: dict[str, type[BaseModel]] = {
    "Every method with unlabelled images in its training": OnlineSchedule,
    "`im` of such a method: Inconsistency Masks": GenerationalMasking,
    "`training` of such a method": TrainingOverrides,
    "`twin`, and each of `im.networks`": NetworkSpec,
}
_DATA: dict[str, type[BaseModel]] = {
    "The file": DataDescription,
    "`fractions`": Fractions,
    "`cells`": Cells,
}
_NAMES = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}
_LIMITS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def documented_fields(kind: type) -> dict[str, str]:
    """Return the meaning of each field, as the docstrings of a class and its bases have it.

    Code stands between backticks, as in Markdown.
    """
    meanings: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if "__doc__" not in vars(base):
            continue
        _, _, attributes = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")
        entries = re.split(r"^    (\w+): ", attributes, flags=re.MULTILINE)[1:]
        for field, text in zip(entries[::2], entries[1::2], strict=True):
            paragraph, _, _ = text.partition("\n\n")
            meanings[field] = " ".join(paragraph.replace("``", "`").split())
    return meanings


def page() -> str:
    """Return the page of all fields, as Markdown."""
    parts = [_HEAD, *_sections(_SUITE)]
    parts.append(
        "# Fields of methods\n\n`im-bench methods NAME` lists the fields of a method with their "
        "defaults and what a search may try. What methods have in common:\n"
    )
    parts += _sections(_METHODS)
    parts.append(
        "# All fields of `dataset.yaml`\n\nWhat they are for, with examples: "
        "[your own data](your-own-data.md).\n"
    )
    parts += _sections(_DATA)
    return "\n".join(parts)


def _sections(models: dict[str, type[BaseModel]]) -> Iterator[str]:
    for title, model in models.items():
        meanings = documented_fields(model)
        rows = [
            f"| `{name}` | {_cell(_field_type(field))} | {_cell(_default(field))} "
            f"| {_cell(meanings.get(name, ''))} |"
            for name, field in model.model_fields.items()
        ]
        head = ["| field | value | default | meaning |", "| --- | --- | --- | --- |"]
        yield "\n".join([f"## {title}", "", *head, *rows, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if value is None or value in ((), {}, ""):
        return "-"
    if isinstance(value, BaseModel):
        return "its fields' defaults"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def _field_type(field: FieldInfo) -> str:
    return _limited(_type(field.annotation), field.metadata)


def _type(annotation: Any) -> str:
    """Say in words what may stand in a field."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _limited(_type(arguments[0]), arguments[1:])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(each) for each in arguments if each is not type(None))
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f"list: {_type(arguments[0])}"
        return f"list of {len(arguments)}: {_type(arguments[0])}"
    if origin is dict:
        return f"mapping: {_type(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "fields"
    return _NAMES.get(annotation, "any")


def _limited(text: str, metadata: Any) -> str:
    limits = []
    for one in metadata:
        for each in getattr(one, "metadata", [one]):
            limits += [
                f"{word} {value:g}"
                for name, word in _LIMITS.items()
                if (value := getattr(each, name, None)) is not None
            ]
    return " ".join([text, *limits[:1], *(f"and {limit}" for limit in limits[1:])])


if __name__ == "__main__":
    sys.stdout.write(page())
