"""What identifies code outside im-bench that a training runs: a user's method, backbone or head.

Its source files are read and hashed, never imported, so that planning stays light.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

from im_bench.files import sha256_file, sha256_json

MISSING = "missing"
_OURS = __name__.partition(".")[0]
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_IMPORTERS = ("lazy_module", "import_module", "__import__")


def is_ours(module: str) -> bool:
    """Return whether a module is part of im-bench."""
    return _top(module) == _OURS


@cache
def source_hash(module: str) -> str:
    """Return the SHA-256 of a module's source files; ``"missing"`` where there is none.

    These are the file of the module and those of what it imports from its own package, from its
    own distribution, or from the folder that its package lies in. A module counts as imported where
    an import names it, anywhere in the file, or a string that is its dotted name.

    Args:
        module: A dotted name.
    """
    files: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        for count in range(1, len(parts) + 1):  # importing a.b.c runs a and a.b as well
            part = ".".join(parts[:count])
            path = None if part in files else _file(part)
            if path is not None:
                files[part] = path
                waiting += (each for each in _imported(part, path) if _belongs(each, module))
    if module not in files and not _is_namespace(module):
        return MISSING
    return sha256_json({name: sha256_file(path) for name, path in files.items()})


def exists(module: str) -> bool:
    """Return whether there is a module of that name, without importing anything."""
    if _file(module) is not None or _is_namespace(module):
        return True
    # Built into Python, or found by other means than files.
    return "." not in module and find_spec(module) is not None


def distribution_of(module: str) -> str | None:
    """Return the name of the distribution that brings a module; None if it is not installed."""
    names = _distributions().get(_top(module))
    return names[0] if names else None


def file_of(module: str) -> Path | None:
    """Return the file of a module, or of the package that it is in; None where there is none."""
    file = _file(module) or _file(_top(module))
    return file.resolve() if file is not None else None


def _top(module: str) -> str:
    return module.partition(".")[0]


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


@cache
def _found(top: str) -> tuple[Path | None, tuple[Path, ...]]:
    """Return the file of a top-level module, and the folders of its submodules."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return None, ()
    file = Path(spec.origin) if spec.has_location and spec.origin else None
    return file, tuple(map(Path, spec.submodule_search_locations or ()))


def _file(module: str) -> Path | None:
    top, *rest = module.split(".")
    file, folders = _found(top)
    if not rest:
        return file if file is not None and file.is_file() else None
    for folder in folders:
        base = folder.joinpath(*rest)
        for suffix in (*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES):
            for path in (base / f"__init__{suffix}", base.with_name(base.name + suffix)):
                if path.is_file():
                    return path
    return None


def _is_namespace(module: str) -> bool:
    top, *rest = module.split(".")
    return any(folder.joinpath(*rest).is_dir() for folder in _found(top)[1])


@cache
def _home(top: str) -> Path | None:
    file, folders = _found(top)
    if folders:
        return folders[0].parent.resolve()
    return file.parent.resolve() if file is not None else None


@cache
def _is_shared(folder: Path) -> bool:
    """Return whether distributions are installed here beside each other."""
    return any(folder.glob("*.dist-info"))


@cache
def _related(top: str, other: str) -> bool:
    """Return whether two top-level modules belong to the same project."""
    home = _home(top)
    if _OURS in (top, other) or home is None or home != _home(other):
        return False
    if not _is_shared(home):
        return True
    return not set(_distributions().get(top, ())).isdisjoint(_distributions().get(other, ()))


def _belongs(imported: str, module: str) -> bool:
    top, other = _top(module), _top(imported)
    return top == other or _related(top, other)


def _imported(module: str, path: Path) -> Iterator[str]:
    """Give the names that a file may import: modules, and what is taken from them."""
    if path.suffix not in SOURCE_SUFFIXES:
        return
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # whoever imports it learns why
        return
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            name = getattr(node.args[0], "value", None)
            if called in _IMPORTERS and isinstance(name, str):
                yield _absolute(name, package)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and _DOTTED.fullmatch(node.value)
        ):
            yield node.value


def _absolute(name: str, package: str) -> str:
    relative = name.lstrip(".")
    level = len(name) - len(relative)
    if not level:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *filter(None, [relative])])
