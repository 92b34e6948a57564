"""YAML files checked by pydantic models, with errors that name the file and the line."""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from im_bench.errors import ImBenchError, unknown_name

Model = TypeVar("Model", bound=BaseModel)
Loc = tuple[int | str, ...]

_MOST_ERRORS = 3
# Pydantic names Python's types where the file has lists and mappings.
_IN_YAML = {
    "model_type": "input should be a mapping of fields",
    "dict_type": "input should be a mapping",
    "tuple_type": "input should be a list",
}


class FieldError(ValueError):
    """What a model's validator raises about one of its fields, so that the error has its line.

    Args:
        loc: The path from the model to the value, such as ``("splits", "train")``.
        message: What is wrong, and what to do.
    """

    def __init__(self, loc: Sequence[int | str], message: str) -> None:
        super().__init__(message)
        self.loc = tuple(loc)


@dataclass(frozen=True)
class YamlDocument:
    """A parsed YAML text that still knows the line of each of its values.

    Attributes:
        source: What errors call the text, usually its path.
        value: The plain Python value.
        root: The node tree, or None where the text is empty.
    """

    source: str
    value: Any
    root: yaml.Node | None

    def line(self, loc: Sequence[int | str] = ()) -> int:
        """Return the 1-based line of the deepest part of ``loc`` that exists in the text."""
        return self._follow(loc)[0]

    def error(self, message: str, loc: Sequence[int | str] = ()) -> ImBenchError:
        """Return an error about the value at ``loc``, with file, line and dotted path."""
        line, path = self._follow(loc)
        where = f"{self.source}:{line}: "
        return ImBenchError(f"{where}{'.'.join(path)}: {message}" if path else where + message)

    def validate(self, model: type[Model], loc: Sequence[int | str] = ()) -> Model:
        """Return ``model`` made of the value at ``loc``.

        Raises:
            ImBenchError: The value does not fit; one sentence with file, lines and paths.
        """
        value = self.value
        for part in loc:
            value = value[part]
        try:
            return model.model_validate({} if value is None else value)
        except ValidationError as error:
            raise self._readable(error, model, tuple(loc)) from None
        except ImBenchError as error:
            raise self.error(str(error), loc) from None

    def _follow(self, loc: Sequence[int | str]) -> tuple[int, list[str]]:
        """Walk down the nodes; parts that are no keys (tags of a union, say) are passed over."""
        node, line, path = self.root, 1, list[str]()
        if node is not None:
            line = node.start_mark.line + 1
        for part in loc:
            if isinstance(node, yaml.MappingNode):
                # The last one wins: merged keys (<<) stand before a mapping's own.
                found = [pair for pair in node.value if pair[0].value == str(part)]
                if found:
                    line = found[-1][0].start_mark.line + 1
                    node = found[-1][1]
                    path.append(str(part))
            elif (
                isinstance(node, yaml.SequenceNode)
                and isinstance(part, int)
                and part < len(node.value)
            ):
                node = node.value[part]
                line = node.start_mark.line + 1
                path.append(str(part))
        return line, path

    def _readable(self, error: ValidationError, model: type[BaseModel], at: Loc) -> ImBenchError:
        # Members of a union complain one by one about the same value: they become one complaint.
        complaints: dict[tuple[int, str], list[str]] = {}
        for detail in error.errors(include_url=False):
            cause = detail.get("ctx", {}).get("error")
            loc = at + detail["loc"] + (cause.loc if isinstance(cause, FieldError) else ())
            line, path = self._follow(loc)
            message = _message(detail, model)
            texts = complaints.setdefault((line, ".".join(path)), [])
            if message not in texts:
                texts.append(message)
        told = [
            f"{self.source}:{line}: {f'{path}: ' if path else ''}{' or '.join(texts)}"
            for (line, path), texts in sorted(complaints.items())
        ]
        more = len(told) - _MOST_ERRORS
        tail = f"; and {more} more" if more > 0 else ""
        return ImBenchError("; ".join(told[:_MOST_ERRORS]) + tail)


def load_model(path: Path, model: type[Model]) -> Model:
    """Read a YAML file and validate it.

    Args:
        path: The file.
        model: The pydantic model that describes it.

    Raises:
        ImBenchError: The file cannot be read, is no YAML, repeats a key or does not fit ``model``.
    """
    return load_document(path).validate(model)


def load_document(path: Path) -> YamlDocument:
    """Read a YAML file.

    Raises:
        ImBenchError: The file cannot be read, is no YAML or repeats a key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ImBenchError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ImBenchError(f"{path}: is not UTF-8 text: save it as UTF-8") from None
    return parse_document(text, str(path))


def parse_document(text: str, source: str) -> YamlDocument:
    """Parse YAML text; ``source`` is what errors call it. Otherwise as `load_document`."""
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        for key in _duplicate_keys(root):
            line = key.start_mark.line + 1
            raise ImBenchError(f"{source}:{line}: {key.value} stands twice: remove one of them")
        value = None if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ImBenchError(f"{source}:{line}: is not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ImBenchError(f"{source}: is not valid YAML: {' '.join(str(error).split())}") from None
    return YamlDocument(source, value, root)


def _duplicate_keys(root: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    """Give each key that its mapping already has; PyYAML silently keeps the last."""
    todo, visited = [root], set[int]()
    while todo:
        node = todo.pop()
        if node is None or id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            todo += node.value
        elif isinstance(node, yaml.MappingNode):
            seen = set[tuple[str, str]]()
            for key, value in node.value:
                todo.append(value)
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if (key.tag, key.value) in seen:
                        yield key
                    seen.add((key.tag, key.value))


def _message(detail: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Say one of pydantic's error details in plain words."""
    kind, loc = detail["type"], detail["loc"]
    if kind == "missing":
        return f"the field {loc[-1]!r} is missing"
    if kind == "extra_forbidden":
        known = {name for owner in _models_at(model, loc[:-1]) for name in _keys(owner)}
        return str(unknown_name("field", str(loc[-1]), known))
    text = str(detail["msg"])
    if kind in ("value_error", "assertion_error"):
        return text.partition(", ")[2]
    given = repr(detail["input"])
    text = _IN_YAML.get(kind, text[:1].lower() + text[1:])
    return f"{text}, not {given if len(given) <= 60 else given[:57] + '...'}"


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield field.alias or name


def _models_at(model: type[BaseModel], loc: Loc) -> list[type[BaseModel]]:
    """Return the models that may stand at ``loc`` inside ``model``."""
    here = [model]
    for part in loc:
        inner = [found for each in here for found in _step(each, part)]
        # A part that leads nowhere is the tag of a discriminated union, or an index or key.
        here = inner or [each for each in here if _has_tag(each, part)] or here
    return here


def _step(model: type[BaseModel], part: int | str) -> Iterator[type[BaseModel]]:
    for name, field in model.model_fields.items():
        if part in (name, field.alias):
            yield from _models_in(field.annotation)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Give the models within an annotation such as ``dict[str, A | list[B]]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    containers = (typing.Union, types.UnionType, typing.Annotated, list, tuple, dict)
    origin = typing.get_origin(annotation)
    if origin in containers or origin in (collections.abc.Mapping, collections.abc.Sequence):
        for argument in typing.get_args(annotation):
            yield from _models_in(argument)


def _has_tag(model: type[BaseModel], tag: int | str) -> bool:
    return tag == model.__name__ or any(
        typing.get_origin(field.annotation) is typing.Literal
        and tag in typing.get_args(field.annotation)
        for field in model.model_fields.values()
    )
