"""Faults of files and clocks: truncated, emptied, overwritten; times that jump."""

from __future__ import annotations

import os
import random
import shutil
import time
from contextlib import suppress
from pathlib import Path

from .arena import Arena, until
from .processes import PATIENCE, owner

#: Files of a stage that a campaign damages when nobody runs.
AT_REST = (
    "stage.json",
    "settings.json",
    "lock",
    "progress.json",
    "provenance-*.json",
    "error-*.json",
    "result.json",
    "scalars.jsonl",
    "log.txt",
)
#: ... and while stages run. What is hashed of ``stage.json`` is then already read.
AT_WORK = ("settings.json", "lock", "progress.json", "provenance-*.json", "error-*.json")


def damage(path: Path, chance: random.Random) -> str:
    """Damage a file in place, in one of several ways; return which."""
    content = bytearray(path.read_bytes())
    how = chance.choice(("emptied", "truncated", "overwritten", "one bit turned", "replaced"))
    if how == "emptied" or not content:
        content.clear()
    elif how == "truncated":
        del content[chance.randrange(len(content)) :]
    elif how == "overwritten":
        start = chance.randrange(len(content))
        content[start : start + 64] = chance.randbytes(len(content[start : start + 64]))
    elif how == "one bit turned":
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    else:
        content[:] = chance.randbytes(len(content))
    with path.open("r+b") as file:  # the same file: a lock's holder has it open
        file.write(content)
        file.truncate(len(content))
    return how


def damage_at_rest(arena: Arena) -> None:
    """Kill all processes, damage some files that they have left, and run again."""
    arena.environment["IM_BENCH_LOCK_PATIENCE"] = PATIENCE
    runner = arena.start()
    arena.run_for_a_while(runner)
    for _ in range(arena.chance.randrange(3)):
        if pid := owner(arena):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)  # leaves an error
            time.sleep(0.05)
    if runner.poll() is None:
        os.killpg(runner.pid, 9)
        runner.wait()
    arena.quiet()
    for _ in range(arena.chance.randint(2, 4)):
        kinds = [
            found for name in AT_REST if (found := sorted(arena.out.glob(f"stages/**/{name}")))
        ]
        if kinds:
            spoil(arena, arena.chance.choice(arena.chance.choice(kinds)))
    arena.settle()


def damage_at_work(arena: Arena) -> None:
    """Damage files under the hands of running stages."""
    arena.environment["IM_BENCH_LOCK_PATIENCE"] = PATIENCE
    runner = arena.start()
    for _ in range(arena.chance.randint(2, 4)):
        arena.run_for_a_while(runner)
        kinds = [
            found for name in AT_WORK if (found := sorted(arena.out.glob(f"stages/**/{name}")))
        ]
        if kinds and runner.poll() is None:
            with suppress(FileNotFoundError):  # it may be over just now
                spoil(arena, arena.chance.choice(arena.chance.choice(kinds)))
    arena.ended(runner)
    arena.settle()


def damage_done(arena: Arena) -> None:
    """Damage files of stages that are done while others still need these."""
    runner = arena.start()
    until(lambda: bool(arena.finished()) or runner.poll() is not None)
    arena.run_for_a_while(runner)
    if runner.poll() is None:
        runner.kill()
        runner.wait()
    arena.quiet()
    folders = [path.parent for path in sorted(arena.out.glob("stages/**/result.json"))]
    for _ in range(arena.chance.randint(1, 3)):
        if folders:
            name = arena.chance.choice(("result.json", "stage.json"))
            spoil(arena, arena.chance.choice(folders) / name)
    arena.settle()


def spoil(arena: Arena, path: Path) -> None:
    """Damage a file of a stage, and take note."""
    slug = str(path.parent.relative_to(arena.store.stages)).rpartition("-")[0]
    if path.name == "result.json":
        arena.spoilt.add(slug)
    arena.note(f"{path.name} {damage(path, arena.chance)}")


def jump(arena: Arena) -> None:
    """Let the wall clock jump amid a run, forwards or backwards, by minutes to years."""
    clock = arena.folder / "clock"
    clock.write_text("0")
    runner = arena.start(FAULTS_CLOCK=str(clock))
    for _ in range(2):
        arena.run_for_a_while(runner)
        if runner.poll() is None:
            seconds = arena.chance.choice((-1, 1)) * 10 ** arena.chance.uniform(2, 8)
            replace(clock, str(seconds))
            arena.note("the wall clock jumped")
    if arena.chance.random() < 0.5 and runner.poll() is None:
        runner.kill()
    arena.ended(runner)
    arena.settle()


def touch(arena: Arena) -> None:
    """Set the times of files to the far past or future, amid a run and after it."""
    runner = arena.start()
    arena.run_for_a_while(runner)
    moments = (0, time.time() + 10**9)
    for path in arena.out.rglob("*"):
        moment = arena.chance.choice(moments)
        try:
            os.utime(path, (moment, moment))
        except FileNotFoundError:
            continue
    arena.note("all files' times set to the past or future")
    if runner.poll() is None and arena.chance.random() < 0.5:
        runner.kill()
    arena.ended(runner)
    arena.settle()


def replace(path: Path, text: str) -> None:
    """Replace a file in one go."""
    new = path.with_suffix(".new")
    new.write_text(text)
    shutil.move(new, path)
