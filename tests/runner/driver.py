"""Runs a plan of light stages in a process of its own, as the command line would."""

from __future__ import annotations

import sys
from pathlib import Path

from im_bench.runner.engines.local import LocalEngine
from im_bench.runner.engines.options import LocalOptions
from im_bench.runner.interrupt import stop_on_signals
from im_bench.runner.scheduler import run_plan
from im_bench.runner.store import Store

from . import stage_functions


def main(out: str, slots: str, seconds: str, width: str = "6", depth: str = "6") -> int:
    stage_functions.register()
    plan = stage_functions.layered_plan(int(width), int(depth), float(seconds), steps=5)
    engine = LocalEngine(LocalOptions(slots=int(slots), device="cpu"), stage_functions.LIGHT)
    with stop_on_signals() as stop:
        summary = run_plan(
            plan,
            Store(Path(out)),
            engine,
            on_event=lambda event: sys.stdout.write(f"{event.what.value} {event.stage.slug}\n"),
            stop=stop,
        )
    return summary.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
