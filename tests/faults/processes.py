"""Faults of processes: killed, stopped, in competition."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

from .arena import Arena, Rule, rules, struck, until

#: Seconds without a sign of life after which a stage that stands still counts as dead here.
PATIENCE = "2"
#: Where a process may be when it is killed or stopped: what it does, and to which file.
MOMENTS = (
    ("open", r"stage\.json|\.stage\.json\..*"),
    ("rename", "stage.json"),
    ("open", r"\.settings\.json\..*"),
    ("rename", "settings.json"),
    ("open", "lock"),
    ("sync", "lock"),
    ("rename", "lock"),
    ("open", r"log\.txt"),
    ("rename", r"provenance-\d+\.json"),
    ("rename", r"progress\.json"),
    ("open", r"scalars\.jsonl"),
    ("sync", r"\.state\.json\..*"),
    ("rename", r"state\.json"),
    ("rename", r"artifact\.json"),
    ("sync", r"\.result\.json\..*"),
    ("rename", r"result\.json"),
)


def kill_runner(arena: Arena) -> None:
    """Kill the runner, some times."""
    for _ in range(arena.chance.randint(2, 4)):
        runner = arena.start()
        arena.run_for_a_while(runner)
        if runner.poll() is None:
            runner.kill()
            runner.wait()
            arena.note("runner killed")
    arena.settle()


def kill_stage(arena: Arena) -> None:
    """Kill processes of stages, found by their locks, while the runner goes on."""
    runner = arena.start()
    for _ in range(arena.chance.randint(2, 4)):
        arena.run_for_a_while(runner)
        if pid := owner(arena):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                arena.note("a stage's process killed")
    arena.ended(runner)
    arena.settle()


def kill_server(arena: Arena) -> None:
    """Kill the server from which stages are forked."""
    runner = arena.start()
    arena.run_for_a_while(runner)
    for pid in servers(runner.pid):
        os.kill(pid, signal.SIGKILL)
        arena.note("the fork server killed")
    arena.ended(runner)
    arena.settle()


def ask_to_stop(arena: Arena) -> None:
    """Ask for a stop by Ctrl-C or SIGTERM, to all processes or the runner, once or twice."""
    runner = arena.start()
    arena.run_for_a_while(runner)
    number = arena.chance.choice((signal.SIGINT, signal.SIGTERM))
    if arena.chance.random() < 0.3:
        for pid in servers(runner.pid):
            os.kill(pid, signal.SIGKILL)
            arena.note("the fork server killed before a stop was asked for")
    for _ in range(arena.chance.choice((1, 1, 2))):
        if runner.poll() is None:
            (os.kill if arena.chance.random() < 0.5 else os.killpg)(runner.pid, number)
            arena.note(f"{number.name} amid a run")
    assert arena.ended(runner) in (0, 1, 130), arena.said(runner)
    arena.settle()


def kill_group(arena: Arena) -> None:
    """Kill everything at once, as the end of a session or of a machine does."""
    for _ in range(arena.chance.randint(2, 4)):
        runner = arena.start()
        arena.run_for_a_while(runner)
        if runner.poll() is None:
            os.killpg(runner.pid, signal.SIGKILL)
            runner.wait()
            arena.note("the whole process group killed")
    arena.settle()


def kill_in_write(arena: Arena) -> None:
    """Kill whoever writes, in the middle of it: the runner or a stage."""
    rule = moment(arena, "kill")
    runner = arena.start(**rules(arena, rule))
    arena.ended(runner)
    if struck(arena, rule):
        arena.note(f"killed before it could {rule['what']} {rule['name']}")
    arena.settle()


def stop_owner(arena: Arena) -> None:
    """Stop a stage or all processes of a runner; another takes over; the first one wakes up."""
    arena.environment["IM_BENCH_LOCK_PATIENCE"] = PATIENCE
    first = arena.start()
    arena.run_for_a_while(first)
    whole = arena.chance.random() < 0.7
    if whole:
        os.killpg(first.pid, signal.SIGSTOP)
        arena.note("all processes of a runner stopped; another took over; woken again")
    elif pid := owner(arena):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            arena.note("a stage's process stopped; another took over; woken again")
    second = arena.start()
    if arena.chance.random() < 0.5:
        arena.run_for_a_while(second)  # the first one may wake up while the other works
    else:
        arena.ended(second)
    with suppress(ProcessLookupError):
        os.killpg(first.pid, signal.SIGCONT)
    assert {arena.ended(first), arena.ended(second)} <= {0, 1}
    arena.settle()


def stop_in_write(arena: Arena) -> None:
    """Stop a stage in the middle of a write, until another has taken over."""
    arena.environment["IM_BENCH_LOCK_PATIENCE"] = PATIENCE
    rule = moment(arena, "stop")
    first = arena.start(**rules(arena, rule))
    until(lambda: struck(arena, rule) or first.poll() is not None)
    second = arena.start()
    arena.ended(second)
    with suppress(ProcessLookupError):
        os.killpg(first.pid, signal.SIGCONT)
    arena.ended(first)
    if struck(arena, rule):
        arena.note(f"stopped before it could {rule['what']} {rule['name']}, and woken later")
    arena.settle()


def compete(arena: Arena) -> None:
    """Let two or three runners have one folder, and kill one."""
    runners = [arena.start() for _ in range(arena.chance.randint(2, 3))]
    arena.run_for_a_while(runners[0])
    victim = arena.chance.choice(runners)
    if victim.poll() is None:
        if arena.chance.random() < 0.5:
            victim.kill()
        else:
            os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()
        arena.note(f"one of {len(runners)} runners killed")
    for runner in runners:
        if runner is not victim:
            assert arena.ended(runner) == 0, arena.said(runner)
    arena.settle()


def moment(arena: Arena, action: str) -> Rule:
    """Return a rule for a random moment."""
    what, name = arena.chance.choice(MOMENTS)
    return Rule(what=what, name=name, after=arena.chance.randrange(4), times=1, action=action)


def owner(arena: Arena) -> int | None:
    """Return the process of a stage that runs, from its lock."""
    for lock in sorted(arena.out.glob("stages/**/lock"), key=lambda _: arena.chance.random()):
        try:
            return int(json.loads(lock.read_text())["pid"])
        except (OSError, ValueError):
            continue
    return None


def servers(runner: int) -> list[int]:
    """Return the servers from which a runner forks: its children of that name."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == runner and "forkserver" in (folder / "cmdline").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    return found
