"""The online methods that there are, by the registry: a new one is tested without being listed."""

from __future__ import annotations

from typing import Any

from im_bench.methods.online import OnlineMethod
from im_bench.methods.registry import METHODS, method_class

ONLINE = [name for name in METHODS.built_in if issubclass(method_class(name), OnlineMethod)]
UNLABELLED = [name for name in ONLINE if method_class(name).needs_unlabelled]
"""Those that learn from unlabelled images."""

# Memory for large images and long trainings, which those of tests are not.
SMALL: dict[str, dict[str, Any]] = {
    "u2pl": {"features": 8, "capacity": 64, "capacity_first": 64, "queries": 8, "negatives": 4}
}
# Where a threshold of 0 alone would not do.
_TEACHING: dict[str, dict[str, Any]] = {
    "fpl": {},  # its threshold parts two losses
    "daw": {"threshold": 0.0, "momentum": 1.0},  # statistics, and so the threshold, do not move
}


def teaching(name: str) -> dict[str, Any]:
    """Return fields of a method with which every pixel that could teach does."""
    sure = {"threshold": 0.0} if "threshold" in method_class(name).model_fields else {}
    return {**SMALL.get(name, {}), **_TEACHING.get(name, sure)}


def partner(name: str) -> str:
    """Return what a method mixes images with, if nothing else is said."""
    default: str = method_class(name).model_fields["partner"].default
    return default
