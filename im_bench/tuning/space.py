"""What a search may try: ranges by the dotted names of a method's fields."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    ValidationError,
    model_validator,
)
from typing_extensions import Self

from im_bench.errors import ImBenchError, unknown_name
from im_bench.methods.ranges import Choice, Range
from im_bench.schedules.base import Schedule
from im_bench.schedules.online import OnlineSchedule
from im_bench.yaml_files import YamlDocument, load_document

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Space:
    """Ranges by the dotted name of a field, such as ``threshold`` or ``im.erode``.

    Attributes:
        ranges: What may be tried for each field.
        whole: The fields among them that hold whole numbers.
    """

    ranges: Mapping[str, Range | Choice]
    whole: frozenset[str] = frozenset()

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the ranges as Optuna wants them, by name."""
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        found: dict[str, BaseDistribution] = {}
        for name, one in self.ranges.items():
            if isinstance(one, Choice):
                found[name] = CategoricalDistribution(one.values)
            elif name in self.whole:
                found[name] = IntDistribution(int(one.low), int(one.high), log=one.log)
            else:
                found[name] = FloatDistribution(one.low, one.high, log=one.log)
        return found

    def describe(self) -> dict[str, str]:
        """Return the ranges in words, by name; what identifies the space."""
        return {name: str(one) for name, one in sorted(self.ranges.items())}

    def defaults(self, method: Schedule) -> dict[str, Any] | None:
        """Return the method's own values, or None where one of them lies outside the space."""
        values = {name: value_of(method, name) for name in self.ranges}
        distributions = self.distributions()
        inside = all(_contains(distributions[name], value) for name, value in values.items())
        return values if inside else None


class _RangeSpec(BaseModel):
    """A range in a space file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        if self.log and self.low <= 0:
            raise ValueError("log needs a low above 0")
        return self


def _different(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("a value stands there twice")
    return values


_Choices = Annotated[
    list[bool | int | float | str], Field(min_length=1), AfterValidator(_different)
]


class _SpaceFile(RootModel[dict[str, _RangeSpec | _Choices]]):
    """A space file: a range or a list of values for each field."""


def declared_space(method: Schedule, ranges: Mapping[str, Range | Choice] | None = None) -> Space:
    """Return the ranges that a method declares.

    Values that this very method cannot have are left out: three teachers of two members.

    Args:
        method: Whose fields are searched.
        ranges: Of all that it declares, those that are asked for, such as its ``label_ranges()``.

    Raises:
        ImBenchError: If nothing is left to search.
    """
    possible: dict[str, Range | Choice] = {}
    for name, one in (method.ranges() if ranges is None else ranges).items():
        if isinstance(one, Range):
            possible[name] = one
            continue
        values = tuple(value for value in one.values if not _problem(method, {name: value}))
        if len(values) > 1:
            possible[name] = Choice(values)
    if not possible:
        raise ImBenchError(
            f"method {method.title!r} declares nothing that a search could try: name fields and "
            "their ranges in a file, with --space FILE"
        )
    return _space(method, possible)


def load_space(path: Path, method: Schedule) -> Space:
    """Read a space from a YAML file, and check it against the method.

    Each line is ``field: {low: 0.1, high: 1, log: true}`` or ``field: [2, 3, 4]``.

    Raises:
        ImBenchError: With file and line: no such field, or a value that the field cannot have.
    """
    document = load_document(path)
    parsed = document.validate(_SpaceFile).root
    if not parsed:
        raise document.error("names no field: give at least one, with its range")
    ranges = {
        name: Choice(tuple(one)) if isinstance(one, list) else Range(one.low, one.high, one.log)
        for name, one in parsed.items()
    }
    for name, one in ranges.items():
        _check(document, method, name, one)
    return _space(method, ranges)


def with_values(fields: Fields | None, values: Fields) -> dict[str, Any]:
    """Return a method's fields with values in them, whose names may be dotted."""
    changed: dict[str, Any] = {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in (fields or {}).items()
    }
    for name, value in values.items():
        inner = changed
        *parents, last = name.split(".")
        for parent in parents:
            inner[parent] = dict(inner.get(parent) or {})
            inner = inner[parent]
        inner[last] = value
    return changed


def value_of(method: Schedule, name: str) -> Any:
    """Return the value of a field, whose name may be dotted; None where a part of it is not set."""
    value: Any = method
    for part in name.split("."):
        value = getattr(value, part, None)
    return value


def problem_of(method: Schedule, values: Fields) -> str:
    """Return why the method cannot have these values together, or an empty string."""
    return _problem(method, values)


def _space(method: Schedule, ranges: Mapping[str, Range | Choice]) -> Space:
    whole = {
        name
        for name, one in ranges.items()
        if isinstance(one, Range) and int in _types(_annotation(type(method), name))
    }
    return Space(dict(ranges), frozenset(whole))


def _check(document: YamlDocument, method: Schedule, name: str, one: Range | Choice) -> None:
    if _annotation(type(method), name) is None:
        known = _field_names(type(method))
        raise document.error(str(unknown_name("field", name, known)), [name])
    if isinstance(method, OnlineSchedule) and method.im is None and name.startswith("im."):
        raise document.error("this method has no masks on top: name METHOD+im instead", [name])
    whole = int in _types(_annotation(type(method), name))
    if isinstance(one, Range) and whole and not (one.low.is_integer() and one.high.is_integer()):
        raise document.error("holds whole numbers: low and high must be such, too", [name])
    ends = one.values if isinstance(one, Choice) else (one.low, one.high)
    kinds = _types(_annotation(type(method), name))
    for value in ends:
        if isinstance(value, bool) and bool not in kinds:
            raise document.error(f"cannot be {value}: it is no switch", [name])
        if problem := _problem(method, {name: int(value) if whole else value}):
            raise document.error(f"cannot be {value}: {problem}", [name])


def _problem(method: Schedule, values: Fields) -> str:
    fields = with_values(method.model_dump(exclude_none=True), values)
    try:
        type(method).model_validate(fields)
    except ValidationError as error:
        return str(error.errors(include_url=False)[0]["msg"]).removeprefix("Value error, ")
    return ""


def _annotation(model: type[BaseModel], name: str) -> Any:
    """Return what a field holds, or None if there is no such field."""
    first, _, rest = name.partition(".")
    if first not in model.model_fields:
        return None
    annotation = model.model_fields[first].annotation
    if not rest:
        return annotation
    for kind in _types(annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return _annotation(kind, rest)
    return None


def _types(annotation: Any) -> Iterable[Any]:
    """Return the types that an annotation such as ``float | None`` allows."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [one for part in typing.get_args(annotation) for one in _types(part)]
    if typing.get_origin(annotation) is Annotated:
        return _types(typing.get_args(annotation)[0])
    return [annotation]


def _field_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, field in model.model_fields.items():
        inner = [one for one in _types(field.annotation) if isinstance(one, type)]
        models = [one for one in inner if issubclass(one, BaseModel)]
        names += _field_names(models[0], f"{prefix}{name}.") if models else [prefix + name]
    return names


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    from optuna.distributions import CategoricalDistribution

    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return isinstance(value, (int, float)) and distribution._contains(float(value))
