"""Finds methods by name: the built-in ones, and those that other packages bring.

A package brings a method by an entry point: ``[project.entry-points."im_bench.methods"]`` with
``my-method = "my_package.my_method:MyMethod"``.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from im_bench.errors import ImBenchError, unknown_name

GROUP = "im_bench.methods"

BUILT_IN = {
    "ldt": "im_bench.schedules.references:LabelledOnly",
    "aldt": "im_bench.schedules.references:AugmentedLabelledOnly",
    "fdt": "im_bench.schedules.references:FullData",
    "afdt": "im_bench.schedules.references:AugmentedFullData",
    "me": "im_bench.schedules.model_ensemble:ModelEnsemble",
    "im": "im_bench.schedules.inconsistency_masks:InconsistencyMasks",
    "supervised": "im_bench.methods.supervised:Supervised",
    "fixmatch": "im_bench.methods.fixmatch:FixMatch",
    "fpl": "im_bench.methods.fpl:FPL",
    "crossmatch": "im_bench.methods.crossmatch:CrossMatch",
    "imas": "im_bench.methods.imas:IMAS",
    "rankmatch": "im_bench.methods.rankmatch:RankMatch",
    "u2pl": "im_bench.methods.u2pl:U2PL",
    "segkc": "im_bench.methods.segkc:SegKC",
    "unimatch": "im_bench.methods.unimatch:UniMatch",
    "unimatch-v2": "im_bench.methods.unimatch_v2:UniMatchV2",
    "daw": "im_bench.methods.daw:DAW",
}


@cache
def _entry_points() -> dict[str, EntryPoint]:
    found = {name: EntryPoint(name, target, GROUP) for name, target in BUILT_IN.items()}
    for point in entry_points(group=GROUP):
        if point.name in BUILT_IN:
            raise ImBenchError(
                f"the package that provides {point.value} names a method {point.name!r}, which is "
                "built in: rename it in that package"
            )
        found[point.name] = point
    return found


def known_methods() -> list[str]:
    """Return the names of all methods, built-in ones first."""
    return list(_entry_points())


def method_class(name: str) -> type[Any]:
    """Return the class of a method.

    An :class:`~im_bench.methods.online.OnlineMethod`, or a
    :class:`~im_bench.schedules.base.Schedule` where a method works in stages of its own.

    Raises:
        ImBenchError: If there is no such method, it cannot be imported, or what is registered is
            no class.
    """
    points = _entry_points()
    if name not in points:
        raise unknown_name("method", name, points)
    try:
        loaded = points[name].load()
    except (AttributeError, ImportError) as error:
        raise ImBenchError(
            f"method {name!r} cannot be imported from {points[name].value} ({error}): correct the "
            "entry point or the module of its package"
        ) from error
    if not isinstance(loaded, type):
        raise ImBenchError(f"method {name!r} ({points[name].value}) is no class: name one")
    return loaded
