"""Runs a plan of light stages in a process of its own, as the command line would."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from rich.console import Console

from im_bench.cli import app
from im_bench.runner.engines.local import LocalEngine
from im_bench.runner.engines.options import LocalOptions
from im_bench.runner.interrupt import stop_on_signals
from im_bench.runner.plan_run import Retries
from im_bench.runner.progress import make_view
from im_bench.runner.scheduler import Policy, run_plan
from im_bench.runner.store import Store

from . import steps


def run(words: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--slots", type=int)
    parser.add_argument("--shape", type=float, nargs=4)
    parser.add_argument("--attempts", type=int)
    parser.add_argument("--policy", type=Policy, default=Policy.ONLY_MISSING)
    options = parser.parse_args(words)
    width, depth, length, seconds = options.shape
    plan = steps.make_plan(int(width), int(depth), int(length), seconds)
    store = Store(options.out)
    engine = LocalEngine(LocalOptions(slots=options.slots, device="cpu"), steps.LIGHT)
    retries = Retries(options.attempts, pause=0.2)
    with (
        stop_on_signals() as stop,
        closing(engine),
        make_view(store, len(plan.graph), Console()) as view,
    ):
        summary = run_plan(plan, store, engine, options.policy, view, stop, retries=retries)
    for slug, sentence in summary.failed.items():
        sys.stdout.write(f"failed: {slug}: {sentence}\n")
    return summary.exit_code


if __name__ == "__main__":
    # The command line's own treatment of errors, around this run instead of its commands.
    app.app = lambda: sys.exit(run(sys.argv[1:]))  # type: ignore[assignment]
    app.main()
