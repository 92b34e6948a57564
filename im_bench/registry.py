"""Things that packages add by entry points: methods, data sets, metrics and engines.

Each kind has one registry: a table of what is built in, and an entry-point group. Targets are
strings, ``"module:attribute"``, which are imported when they are first asked for, so that planning
stays light.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from im_bench.errors import ImBenchError, unknown_name
from im_bench.own_code import is_ours, source_hash


class Registry:
    """What there is of one kind, by name: built-in ones first, then those of other packages.

    Args:
        kind: The word for one of them in messages, such as ``"metric"``.
        group: The group of the entry points, such as ``"im_bench.metrics"``.
        built_in: ``"module:attribute"`` by name.
        base: The class that everything in the registry is a subclass of.
        instances: Whether they are instances of that class instead.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        built_in: Mapping[str, str],
        *,
        base: type = object,
        instances: bool = False,
    ) -> None:
        self.kind = kind
        self.group = group
        self.built_in = built_in
        self.base = base
        self.instances = instances
        self._points: tuple[Any, dict[str, EntryPoint]] | None = None

    @cached_property
    def _installed(self) -> tuple[EntryPoint, ...]:
        return tuple(entry_points(group=self.group))

    @property
    def points(self) -> dict[str, EntryPoint]:
        """The entry points by name.

        Raises:
            ImBenchError: A package gives a name that is taken.
        """
        known = (tuple(self.built_in.items()), self._installed)
        if self._points is not None and self._points[0] == known:
            return self._points[1]  # planning asks for each training
        found = {name: EntryPoint(name, at, self.group) for name, at in self.built_in.items()}
        for point in self._installed:
            other = found.setdefault(point.name, point)
            if other.value != point.value:
                raise ImBenchError(
                    f"the package that provides {point.value} names a {self.kind} {point.name!r}, "
                    f"which is already {other.value}: rename it in that package"
                )
        self._points = (known, found)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def __contains__(self, name: object) -> bool:
        return name in self.points

    def __getitem__(self, name: str) -> Any:
        """Return what has this name.

        Raises:
            ImBenchError: Nothing has, it cannot be imported, or it is of another kind.
        """
        points = self.points
        if name not in points:
            raise unknown_name(self.kind, name, points)
        what, target = f"{self.kind} {name!r}", points[name].value
        try:
            loaded = points[name].load()
        except (AttributeError, ImportError) as error:
            raise ImBenchError(
                f"{what} cannot be imported from {target} ({error}): correct the entry point or "
                "the module of its package"
            ) from error
        is_class = isinstance(loaded, type)
        if self.instances and not isinstance(loaded, self.base):
            raise ImBenchError(f"{what} ({target}) is no {self.base.__name__}: name one")
        if not self.instances and not is_class:
            raise ImBenchError(f"{what} ({target}) is no class: name one")
        if not self.instances and not issubclass(loaded, self.base):
            raise ImBenchError(
                f"{what} ({target}) is no subclass of {self.base.__name__}: derive it from that"
            )
        return loaded

    def items(self) -> Iterator[tuple[str, Any]]:
        """Give each name with what has it."""
        return ((name, self[name]) for name in self)

    def code(self, name: str) -> dict[str, str]:
        """Return what identifies the code of one from another package, by module.

        It is empty for those of im-bench, whose results the versions of recipes identify, and for
        names that nothing has.
        """
        point = self.points.get(name)
        if point is None or is_ours(point.module):
            return {}
        return {point.module: source_hash(point.module)}
