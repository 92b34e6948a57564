"""Finds methods by name: the built-in ones, and those that other packages bring.

A package brings a method by an entry point: ``[project.entry-points."im_bench.methods"]`` with
``my-method = "my_package.my_method:MyMethod"``.
"""

from __future__ import annotations

from typing import Any

from im_bench.registry import Registry

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


METHODS = Registry("method", "im_bench.methods", BUILT_IN)
"""Classes: an OnlineMethod, or a Schedule where a method works in stages of its own."""


def known_methods() -> list[str]:
    """Return the names of all methods, built-in ones first."""
    return list(METHODS)


def method_class(name: str) -> type[Any]:
    """Return the class of a method.

    An :class:`~im_bench.methods.online.OnlineMethod`, or a
    :class:`~im_bench.schedules.base.Schedule` where a method works in stages of its own.

    Raises:
        ImBenchError: If there is no such method, it cannot be imported, or what is registered is
            no class.
    """
    found: type[Any] = METHODS[name]
    return found
