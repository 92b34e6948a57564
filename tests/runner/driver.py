"""Runs a plan of light stages in a process of its own, as the command line would."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from im_bench.runner.engines.base import Engine
from im_bench.runner.engines.local import LocalEngine
from im_bench.runner.engines.options import LocalOptions, RayOptions
from im_bench.runner.engines.ray.engine import RayEngine
from im_bench.runner.interrupt import stop_on_signals
from im_bench.runner.scheduler import run_plan
from im_bench.runner.store import Store

from . import stage_functions


def main(
    out: str, slots: str, seconds: str, width: str = "6", depth: str = "6", address: str = ""
) -> int:
    stage_functions.register()
    plan = stage_functions.layered_plan(int(width), int(depth), float(seconds), steps=5)
    with stop_on_signals() as stop, closing(make_engine(int(slots), address)) as engine:
        summary = run_plan(
            plan,
            Store(Path(out)),
            engine,
            on_event=lambda event: sys.stdout.write(f"{event.what.value} {event.stage.slug}\n"),
            stop=stop,
        )
    return summary.exit_code


def make_engine(slots: int, address: str) -> Engine:
    """Return the Ray engine if there is an address of a cluster, else the local one."""
    if address:
        return RayEngine(RayOptions(address=address, device="cpu"))
    return LocalEngine(LocalOptions(slots=slots, device="cpu"), stage_functions.LIGHT)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
