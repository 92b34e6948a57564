"""Faults of the disk: full, read-only, forbidden; the room and the permission come back."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .arena import Arena, Rule, rules, struck, until

#: What a full disk may refuse: each kind of write of the runner and of a stage.
WRITES = (
    ("open", r"\.stage\.json\..*"),
    ("sync", r"\.stage\.json\..*"),
    ("open", r"\.settings\.json\..*"),
    ("sync", r"\.settings\.json\..*"),
    ("open", "lock"),
    ("sync", "lock"),
    ("write", "lock"),
    ("open", r"log\.txt"),
    ("open", r"\.provenance-\d+\.json\..*"),
    ("sync", r"\.provenance-\d+\.json\..*"),
    ("open", r"\.progress\.json\..*"),
    ("open", r"scalars\.jsonl"),
    ("open", r"\.state\.json\..*"),
    ("sync", r"\.state\.json\..*"),
    ("open", r"\.artifact\.json\..*"),
    ("rename", r"artifact\.json"),
    ("open", r"\.result\.json\..*"),
    ("sync", r"\.result\.json\..*"),
    ("rename", r"result\.json"),
)
ERRORS = ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES")


def refuse_write(arena: Arena) -> None:
    """Refuse some writes of two kinds, and perhaps the records of the errors, too."""
    those = [
        Rule(
            what=what,
            name=name,
            after=arena.chance.randrange(6),
            times=arena.chance.choice((1, 1, 2, 1000)),
            action=arena.chance.choice(ERRORS),
        )
        for what, name in arena.chance.sample(WRITES, 2)
    ]
    if arena.chance.random() < 0.3:
        name = r"\.error-\d+\.json\..*"
        those.append(Rule(what="open", name=name, after=0, times=1000, action="ENOSPC"))
    runner = arena.start(**rules(arena, *those))
    if arena.ended(runner) == 2:
        assert arena.said(runner).startswith("error: "), arena.said(runner)
    for number, rule in enumerate(those):
        if struck(arena, rule, number):
            arena.note(f"{rule['action']} for {rule['what']} of {rule['name']}")
    arena.settle()


def fill_disk(arena: Arena) -> None:
    """Fill a small disk up to a random rest, before the run or amid it."""
    with small_disk(arena.out.parent):
        filler = arena.out.parent / "filler"
        before = arena.chance.random() < 0.5
        if before:
            fill(filler, arena.chance.randrange(60))
        runner = arena.start()
        if not before:
            arena.run_for_a_while(runner)
            fill(filler, arena.chance.randrange(4))
        arena.ended(runner)
        arena.note(f"the disk filled {'before the run' if before else 'amid the run'}")
        arena.quiet()
        filler.unlink()
        arena.settle()


@contextmanager
def small_disk(folder: Path, size: str = "1m") -> Iterator[None]:
    """Let a folder lie on a disk of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting takes root")
    try:
        yield
    finally:
        # Lazily: a process that leaves may still have a file open.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path, pages: int) -> None:
    """Write a file until no more than some pages of 4 KiB are free."""
    size = shutil.disk_usage(path.parent).free - pages * 4096
    with path.open("wb", buffering=0) as file:
        try:
            while size > 0:
                size -= file.write(bytes(4096))
        except OSError:
            return  # it is full earlier: others write, too


def limit_files(arena: Arena) -> None:
    """Let no file grow beyond a size that some need."""
    size = arena.chance.choice((0, 100, 300, 600, 2000, 10_000))
    arena.prefix = ("prlimit", f"--fsize={size}")
    arena.ended(arena.start())
    arena.note(f"no file may have more than {size} bytes")
    arena.prefix = ()
    arena.settle()


def forbid(arena: Arena) -> None:
    """Take write permission away amid a run, from a folder or from all, and give it back."""
    obey_permissions(arena)
    runner = arena.start()
    arena.run_for_a_while(runner)
    folders = [arena.out, *(path for path in arena.out.rglob("*") if path.is_dir())]
    if arena.chance.random() < 0.5:
        folders = [arena.chance.choice(folders)]
    mode = arena.chance.choice((0o555, 0o000))
    with changed(folders, mode):
        if arena.chance.random() < 0.5:
            arena.ended(runner)
            runner = arena.start()
        else:
            time.sleep(arena.chance.uniform(0, 0.3))
            if arena.chance.random() < 0.5:
                arena.ended(runner)
        arena.note(f"mode {mode:o} for {'a folder' if len(folders) == 1 else 'all folders'}")
        if runner.poll() is None and mode == 0:
            arena.ended(runner)
    arena.ended(runner)
    arena.settle()


def obey_permissions(arena: Arena) -> None:
    """Let runners be held to permissions, to which root is not."""
    if os.geteuid() == 0:
        without = "-dac_override,-dac_read_search"
        arena.prefix = ("setpriv", f"--bounding-set={without}", f"--inh-caps={without}")


@contextmanager
def changed(folders: list[Path], mode: int) -> Iterator[None]:
    """Give folders a mode, the innermost first, and give back what they had."""
    before = {}
    for folder in sorted(folders, key=lambda path: -len(path.parts)):
        try:
            before[folder] = folder.stat().st_mode
            folder.chmod(mode)
        except FileNotFoundError:
            continue
    try:
        yield
    finally:
        for folder in reversed(list(before)):
            if folder.exists():
                folder.chmod(before[folder])


def freeze(arena: Arena) -> None:
    """Run in a folder on a disk that is mounted read-only, then mount it to be written again."""
    with small_disk(arena.out.parent):
        runner = arena.start()
        arena.run_for_a_while(runner)
        os.killpg(runner.pid, 9)
        runner.wait()
        arena.quiet()
        remount(arena.out.parent, "ro")
        runner = arena.start()
        status = arena.ended(runner)
        assert status == 2, arena.said(runner)
        assert "cannot be written" in arena.said(runner), arena.said(runner)
        arena.note("the disk mounted read-only")
        remount(arena.out.parent, "rw")
        arena.settle()


def remount(path: Path, how: str) -> None:
    """Mount a disk again, to be read only or to be written, once killed processes have let go."""
    command = ["mount", "-o", f"remount,{how}", str(path)]
    until(lambda: subprocess.run(command, capture_output=True).returncode == 0)
