"""The engine that runs nothing: it says which commands would, for whatever else can run them."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator

from im_bench.planning.plan import Plan
from im_bench.runner.folder import Status
from im_bench.runner.job import Settings
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage


def stage_command(folder: os.PathLike[str] | str, *options: str) -> list[str]:
    """Return the command that runs the stage in a folder."""
    return [sys.executable, "-m", "im_bench.runner.stage", *options, os.fspath(folder)]


def waves(plan: Plan, store: Store, stages: list[Stage]) -> Iterator[list[str]]:
    """Prepare the folders of all that is not done, and give the commands that run them.

    The commands of a wave may run at the same time; each wave needs the ones before it.

    Args:
        plan: What is wanted.
        store: Where it lies; each stage's ``stage.json`` is written.
        stages: The stages of the plan that are wanted, each after those it requires.

    Raises:
        ImBenchError: Another stage lies in a folder, or it cannot be written.
    """
    existing = {stage.key for stage in store.existing(stages)}
    depth: dict[str, int] = {}
    by_depth: dict[int, list[Stage]] = {}
    for stage in stages:
        done = stage.key in existing and store.status(stage) is Status.DONE
        below = max((depth[key] for key in stage.requires), default=0)
        depth[stage.key] = below if done else below + 1
        if not done:
            by_depth.setdefault(below, []).append(stage)
    for _, wave in sorted(by_depth.items()):
        commands = []
        for stage in wave:
            folder = store.prepare(stage, plan.graph)
            threads = stage.needs.cpus or os.cpu_count() or 1
            folder.write_settings(
                Settings(
                    threads=threads, minutes=stage.needs.minutes, processes=stage.needs.workers
                )
            )
            commands.append(shlex.join(stage_command(folder.path.absolute(), "--log")))
        yield commands
