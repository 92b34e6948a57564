"""The schedule of each method, by the method's name."""

from __future__ import annotations

from functools import cache

from im_bench.errors import ImBenchError
from im_bench.methods.online import OnlineMethod
from im_bench.methods.registry import method_class
from im_bench.schedules.base import Schedule
from im_bench.schedules.online import OnlineSchedule


@cache
def schedule_class(name: str) -> type[Schedule]:
    """Return the schedule of a method: its own, or that of all online methods joined with it.

    Raises:
        ImBenchError: There is no such method, it cannot be imported, or what is registered is
            neither an :class:`OnlineMethod` nor a :class:`Schedule`.
    """
    kind = method_class(name)
    if issubclass(kind, Schedule):
        return kind
    if issubclass(kind, OnlineMethod):
        return type(
            kind.__name__, (kind, OnlineSchedule), {"__doc__": kind.__doc__, "__module__": __name__}
        )
    raise ImBenchError(
        f"method {name!r} ({kind.__module__}:{kind.__qualname__}) is neither an OnlineMethod nor a "
        "Schedule: derive it from one of them"
    )
