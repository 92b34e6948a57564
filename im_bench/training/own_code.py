"""What identifies the code outside im-bench that a training runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from im_bench.errors import ImBenchError
from im_bench.evaluation.registry import METRICS
from im_bench.methods.registry import METHODS, method_class
from im_bench.own_code import is_ours, source_hash


def code_of(training: Mapping[str, Any]) -> dict[str, str]:
    """Return what identifies the code outside im-bench that a training runs, by module.

    That is a hash of source files, or the version that a method declares. It is empty where all
    code is im-bench's, whose results the versions of recipes identify.

    Args:
        training: The config of a ``train`` stage.
    """
    found: dict[str, str] = {}
    if (method := training.get("method")) and METHODS.code(method["name"]):
        found |= method_class(method["name"]).code()
    for network in (training["model"], training.get("twin") or {}):
        for module in network.get("custom_imports") or ():
            if not is_ours(module):
                found[module] = source_hash(module)
    return found | METRICS.code(training.get("monitor") or "")


def check_unchanged(training: Mapping[str, Any]) -> None:
    """Compare the code as it is now with what the key of a training stands for.

    Raises:
        ImBenchError: It has changed since the suite was planned.
    """
    planned = training.get("code")
    if not planned:
        return
    now = code_of(training)
    changed = sorted(module for module in planned if now.get(module) != planned[module])
    if changed:
        raise ImBenchError(
            f"the code of {', '.join(changed)} has changed since this suite was planned: start the "
            "run again, which makes results of the new code beside those of the old"
        )
