"""Which engine is meant, by name or by file, and how it is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from im_bench.errors import ImBenchError, unknown_name
from im_bench.runner.engines.base import Engine
from im_bench.runner.engines.options import (
    EngineOptions,
    LocalOptions,
    PrintOptions,
    RayOptions,
    SlurmOptions,
)
from im_bench.yaml_files import load_document

_KINDS: dict[str, type[LocalOptions | RayOptions | SlurmOptions | PrintOptions]] = {
    "local": LocalOptions,
    "ray": RayOptions,
    "slurm": SlurmOptions,
    "print": PrintOptions,
}
#: Options of the command line that are not called like the field that they set.
_FLAGS = {"slots_per_gpu": "--slots-per-gpu"}


def engine_options(named: str, given: dict[str, Any]) -> EngineOptions:
    """Return an engine's options.

    Args:
        named: ``local``, ``ray``, ``slurm``, ``print``, or a YAML file with an engine's options.
        given: Fields that the command line sets, and None for those that it does not; they go
            before the file's.

    Raises:
        ImBenchError: There is no such engine or file, it is wrong, or the engine has no such field.
    """
    fields: dict[str, Any] = {}
    if named in _KINDS:
        kind = _KINDS[named]
    elif named.endswith((".yaml", ".yml")):
        document = load_document(Path(named).expanduser())
        name = document.value.get("engine") if isinstance(document.value, dict) else None
        if name not in _KINDS:
            raise document.error(f"say which engine this is about: engine: {', '.join(_KINDS)}")
        kind = _KINDS[name]
        fields = document.validate(kind).model_dump(exclude_unset=True)
    else:
        raise unknown_name("engine", named, _KINDS)
    wanted = {name: value for name, value in given.items() if value is not None}
    for name in wanted:
        if name not in kind.model_fields:
            flag = _FLAGS.get(name, f"--{name}")
            raise ImBenchError(
                f"{flag} means nothing to the engine {kind.model_fields['engine'].default!r}: "
                "leave it out"
            )
    return kind(**{**fields, **wanted})


def make_engine(options: EngineOptions, out: Path) -> Engine:
    """Return the engine with these options.

    Args:
        options: Of the engine.
        out: The results folder.

    Raises:
        ImBenchError: What it needs is not there: a GPU, a cluster, an optional package.
    """
    if isinstance(options, LocalOptions):
        from im_bench.runner.engines.local import LocalEngine

        return LocalEngine(options)
    if isinstance(options, RayOptions):
        from im_bench.runner.engines.ray.engine import RayEngine

        return RayEngine(options)
    if isinstance(options, SlurmOptions):
        from im_bench.runner.engines.slurm.engine import SlurmEngine

        return SlurmEngine(options, out)
    raise ImBenchError(f"the engine {options.engine!r} runs nothing")
