"""Finds methods by name: the built-in ones, and those that other packages bring.

A package brings a method by an entry point: ``[project.entry-points."im_bench.methods"]`` with
``my-method = "my_package.my_method:MyMethod"``.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from im_bench.errors import ImBenchError, unknown_name
from im_bench.methods.base import Method

GROUP = "im_bench.methods"

BUILT_IN = {
    "ldt": "im_bench.methods.references:LabelledOnly",
    "aldt": "im_bench.methods.references:AugmentedLabelledOnly",
    "fdt": "im_bench.methods.references:FullData",
    "afdt": "im_bench.methods.references:AugmentedFullData",
    "me": "im_bench.methods.model_ensemble:ModelEnsemble",
    "im": "im_bench.methods.inconsistency_masks:InconsistencyMasks",
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


def method_class(name: str) -> type[Method]:
    """Return the class of a method.

    Raises:
        ImBenchError: If there is no such method, it cannot be imported, or what is registered is
            not a method.
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
    if not (isinstance(loaded, type) and issubclass(loaded, Method)):
        raise ImBenchError(f"method {name!r} ({points[name].value}) is not a subclass of Method")
    return loaded
