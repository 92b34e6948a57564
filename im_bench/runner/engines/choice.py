"""Which engine is meant, by name or by file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from im_bench.errors import ImBenchError
from im_bench.registry import Registry
from im_bench.runner.engines.options import EngineOptions
from im_bench.yaml_files import load_document

BUILT_IN = {
    "local": "im_bench.runner.engines.options:LocalOptions",
    "ray": "im_bench.runner.engines.options:RayOptions",
    "slurm": "im_bench.runner.engines.options:SlurmOptions",
    "print": "im_bench.runner.engines.options:PrintOptions",
}
ENGINES = Registry("engine", "im_bench.engines", BUILT_IN, base=EngineOptions)
"""Subclasses of :class:`EngineOptions`."""


def engine_options(named: str, given: dict[str, Any]) -> EngineOptions:
    """Return an engine's options.

    Args:
        named: A name in :data:`ENGINES`, or a YAML file with an engine's options.
        given: Fields that the command line sets, and None for those that it does not; they go
            before the file's.

    Raises:
        ImBenchError: There is no such engine or file, it is wrong, or the engine has no such field.
    """
    fields: dict[str, Any] = {}
    if named.endswith((".yaml", ".yml")):
        document = load_document(Path(named).expanduser())
        name = document.value.get("engine") if isinstance(document.value, dict) else None
        if not isinstance(name, str) or name not in ENGINES:
            raise document.error(f"say which engine this is about: engine: {', '.join(ENGINES)}")
        kind = engine_kind(name)
        fields = document.validate(kind).model_dump(exclude_unset=True)
    else:
        kind = engine_kind(named)
    wanted = {name: value for name, value in given.items() if value is not None}
    for name in wanted:
        if name not in kind.model_fields:
            flag = f"--{name.replace('_', '-')}"
            raise ImBenchError(
                f"{flag} means nothing to the engine {kind.model_fields['engine'].default!r}: "
                "leave it out"
            )
    try:
        return kind(**{**fields, **wanted})
    except ValidationError as error:
        missing = ".".join(map(str, error.errors()[0]["loc"]))
        raise ImBenchError(
            f"engine {kind.model_fields['engine'].default!r}: {missing}: "
            f"{error.errors()[0]['msg']}: set it in a YAML file, --engine FILE"
        ) from None


def engine_kind(name: str) -> type[EngineOptions]:
    """Return the class of an engine's options.

    Raises:
        ImBenchError: There is no such engine, or what is registered is none.
    """
    kind: type[EngineOptions] = ENGINES[name]
    if kind.model_fields["engine"].default != name:
        raise ImBenchError(
            f"engine {name!r} ({kind.__module__}:{kind.__qualname__}) has another name in its "
            f"field `engine`: write engine: str = {name!r}"
        )
    return kind
