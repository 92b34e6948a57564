"""The kinds of faults, and which of them a campaign has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from . import damage, disk, processes, tracking, trainings

Kind = Callable[[Any], None]


def _named(*functions: Kind) -> dict[str, Kind]:
    return {function.__name__: function for function in functions}


#: Rounds of light stages.
LIGHT = _named(
    processes.kill_runner,
    processes.kill_stage,
    processes.kill_server,
    processes.kill_group,
    processes.kill_in_write,
    processes.ask_to_stop,
    processes.stop_owner,
    processes.stop_in_write,
    processes.compete,
    disk.refuse_write,
    disk.fill_disk,
    disk.limit_files,
    disk.forbid,
    disk.freeze,
    damage.damage_at_rest,
    damage.damage_at_work,
    damage.damage_done,
    damage.jump,
    damage.touch,
)
#: Rounds of real trainings, which take longer.
REAL = _named(*trainings.KINDS, tracking.lose_tracking, tracking.fill_tracking)
#: What a campaign has of them when it is not asked for more.
SHORT_REAL = ("damage_checkpoint", "lose_tracking")
#: How many rounds of light stages come with one of real trainings.
PER_REAL = 4


def rounds(wanted: int) -> list[str]:
    """Return the names of a campaign's rounds: a kind and a number.

    Args:
        wanted: How many; 0 for one of each, of the slow kinds only some.
    """
    if not wanted:
        return [f"{name}-0" for name in (*LIGHT, *SHORT_REAL)]
    light, real = _numbered(LIGHT), _numbered(REAL)
    return [next(real if i % (PER_REAL + 1) == PER_REAL else light) for i in range(wanted)]


def _numbered(names: Iterable[str]) -> Any:
    names = list(names)
    return (f"{name}-{number}" for number in count() for name in names)


def about() -> dict[str, str]:
    """Return what each kind does, in a sentence."""
    kinds = {**LIGHT, **REAL}
    return {name: (function.__doc__ or "").partition("\n")[0] for name, function in kinds.items()}
