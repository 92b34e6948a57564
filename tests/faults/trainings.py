"""Faults of real trainings: killed, or with damaged checkpoints, results, suites and hashes."""

from __future__ import annotations

import glob
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from test_end_to_end import make_suite
from test_kills import outcomes

from .arena import ADVISED, RETRIED, Ground, Rule, rules, struck, until
from .damage import damage
from .processes import servers

ITERATIONS = 200


class Calm:
    """An undisturbed run of two trainings and their scores, with which all others are compared.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.suite = make_suite(folder)
        text = self.suite.read_text().replace("{iterations: 6}", f"{{iterations: {ITERATIONS}}}")
        self.suite.write_text(text)
        self.out = folder / "runs"
        began = time.monotonic()
        command = [sys.executable, *words(self.suite, self.out), "--no-tracking"]
        subprocess.run(command, check=True, capture_output=True)
        self.seconds = time.monotonic() - began
        self.outcomes = outcomes(self.out)


class Trainings(Ground):
    """A folder in which real trainings meet faults; see `Ground` for the other arguments.

    Args:
        calm: What the results must be.
    """

    def __init__(self, folder: Path, chance: random.Random, calm: Calm) -> None:
        super().__init__(folder, chance)
        self.calm = calm
        self.suite = self.calm.suite

    def start(self, *more: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start the command."""
        return self.launch([sys.executable, *words(self.suite, self.out), *more], environment)

    def copy(self) -> None:
        """Begin where everything is done."""
        shutil.copytree(self.calm.out, self.out)

    def amid(self) -> None:
        """Begin where both trainings were killed amid their work."""
        runner = self.start("--no-tracking")
        until(lambda: bool(self.found("scratch/last.pth")) or runner.poll() is not None)
        time.sleep(self.chance.uniform(0, 1))
        os.killpg(runner.pid, signal.SIGKILL)
        runner.wait()
        self.quiet()

    def found(self, name: str) -> list[Path]:
        """Return the files of that name in stages' folders."""
        # Not by pathlib, which fails where a folder goes while it is searched.
        found = glob.glob(f"stages/**/{name}", root_dir=self.out, recursive=True)
        return sorted(self.out / one for one in found)

    def settle(self, *more: str) -> None:
        """Run the same command again, and check all that is promised."""
        before = {path: path.read_bytes() for path in self.found("result.json")}
        runner = self.start("--no-tracking", *more)
        status = self.ended(runner)
        if status == 1 and not more:
            self.seen.outcome = RETRIED
            runner = self.start("--no-tracking", "--policy", "retry-failed")
            status = self.ended(runner)
        assert status == 0, self.said(runner)
        self.check(before)

    def check(self, before: dict[Path, bytes]) -> None:
        """Check that the results are the undisturbed ones, and that none was made twice."""
        self.quiet()
        assert {path: path.read_bytes() for path in before} == before, "a result was made again"
        assert outcomes(self.out) == self.calm.outcomes
        self.check_said()


def words(suite: Path, out: Path) -> list[str]:
    """Return the command of a run."""
    return [
        *("-m", "im_bench.cli.app", "run", "--suite", str(suite), "--out", str(out)),
        *("--data", "spots", "--methods", "ldt", "--device", "cpu"),
    ]


def kill_training(ground: Trainings) -> None:
    """Kill the runner, all processes, a training or its server, some times."""
    for _ in range(ground.chance.randint(2, 4)):
        runner = ground.start("--no-tracking")
        # From when a training is at work: machines differ in how long that takes to come.
        until(lambda runner=runner: at_work(ground) or runner.poll() is not None)
        time.sleep(ground.chance.uniform(0, 1.5))
        if runner.poll() is None:
            kill_some(ground, runner)
    ground.settle()


def at_work(ground: Trainings) -> bool:
    """Return whether a training has made its first step of this attempt."""
    return any((path.parent / "lock").exists() for path in ground.found("scalars.jsonl"))


def kill_some(ground: Trainings, runner: subprocess.Popen[bytes]) -> None:
    """Kill a part of what runs."""
    which = ground.chance.choice(("runner", "group", "stage", "server"))
    pids = {"runner": [runner.pid], "group": [-runner.pid], "server": servers(runner.pid)}
    locks = [json.loads(path.read_text())["pid"] for path in ground.found("lock")]
    for pid in pids.get(which, locks[:1]):
        os.kill(pid, signal.SIGKILL)
        ground.note(f"training: {which} killed")
    ground.ended(runner)


def refuse_checkpoint(ground: Trainings) -> None:
    """Refuse writes of checkpoints, curves, arrays and pictures, or end them amid a file."""
    names = (r"\.last\.pth\..*", r"\.best\.pth\..*", r"scalars\.jsonl", r"\w+\.npy", r"[\w-]+\.png")
    rule = Rule(
        what="open",
        name=ground.chance.choice(names),
        after=ground.chance.randrange(4),
        times=ground.chance.choice((1, 1000)),
        action=ground.chance.choice(("ENOSPC", "EIO")),
    )
    if ground.chance.random() < 0.5:
        ground.ended(ground.start("--no-tracking", "--attempts", "1", **rules(ground, rule)))
        if struck(ground, rule):
            ground.note(f"training: {rule['action']} for {rule['name']}")
    else:
        size = ground.chance.choice((2_000, 20_000, 100_000, 300_000))
        ground.prefix = ("prlimit", f"--fsize={size}")
        ground.ended(ground.start("--no-tracking", "--attempts", "1"))
        ground.note(f"training: no file may have more than {size} bytes")
        ground.prefix = ()
    ground.settle()


def stop_training(ground: Trainings) -> None:
    """Stop all processes of a runner; another takes its trainings over; the first one wakes up."""
    ground.environment["IM_BENCH_LOCK_PATIENCE"] = "3"
    first = ground.start("--no-tracking")
    until(lambda: bool(ground.found("lock")) or first.poll() is not None)
    time.sleep(ground.chance.uniform(0, 3))
    os.killpg(first.pid, signal.SIGSTOP)
    ground.note("training: all processes of a runner stopped; another took over; woken again")
    second = ground.start("--no-tracking")
    if ground.chance.random() < 0.5:
        ground.ended(second)
    else:
        time.sleep(ground.chance.uniform(5, 10))
    os.killpg(first.pid, signal.SIGCONT)
    assert {ground.ended(first), ground.ended(second)} <= {0, 1}
    ground.settle()


def damage_checkpoint(ground: Trainings) -> None:
    """Damage the state or the best network of trainings that were killed."""
    ground.amid()
    names = ["scratch/last.pth", "best.pth"]
    for path in ground.found(ground.chance.choice(names)):
        ground.note(f"{path.name} {damage(path, ground.chance)}")
    before = {path: path.read_bytes() for path in ground.found("result.json")}
    runner = ground.start("--no-tracking")
    status = ground.ended(runner)
    if status == 1:  # of a training that was done already
        for folder in train_anew(ground, runner):
            before.pop(folder / "result.json", None)
    else:
        assert status == 0, ground.said(runner)
    ground.check(before)


def damage_network(ground: Trainings) -> None:
    """Damage a network whose training is done, before it is evaluated."""
    ground.copy()
    (scores,) = ground.out.glob("stages/spots/**/scores-*")
    shutil.rmtree(scores)
    before = {path: path.read_bytes() for path in ground.found("result.json")}
    path = ground.chance.choice(ground.found("best.pth"))
    how = damage(path, ground.chance)
    ground.note(f"best.pth of a finished training {how}")
    runner = ground.start("--no-tracking")
    if ground.ended(runner) == 1:
        for folder in train_anew(ground, runner):
            before.pop(folder / "result.json")
    ground.check(before)


def train_anew(ground: Trainings, runner: subprocess.Popen[bytes]) -> list[Path]:
    """Do what a runner advises about damaged networks; return the folders that had to go."""
    gone: list[Path] = []
    status = 1
    while status == 1:  # one network is named at a time
        found = set(re.findall(r"remove the folder (\S+) and run", ground.said(runner)))
        assert found, ground.said(runner)
        for folder in map(Path, found):
            assert folder not in gone, ground.said(runner)
            shutil.rmtree(folder)
            gone.append(folder)
        runner = ground.start("--no-tracking", "--policy", "retry-failed")
        status = ground.ended(runner)
    assert status == 0, ground.said(runner)
    ground.seen.outcome = ADVISED
    return gone


def damage_suite(ground: Trainings) -> None:
    """Damage the suite, or the description of its data, and mend it."""
    ground.copy()
    folder = ground.folder / "copy"
    shutil.copytree(ground.calm.suite.parent, folder, ignore=shutil.ignore_patterns("runs"))
    name = ground.chance.choice(("tiny.yaml", "spots/dataset.yaml"))
    ground.suite = folder / "tiny.yaml"
    whole = (folder / name).read_bytes()
    how = damage(folder / name, ground.chance)
    ground.note(f"{Path(name).name} {how}")
    runner = ground.start("--no-tracking", "--policy", "never")
    status, said = ground.ended(runner), ground.said(runner)
    if status == 1:  # its cells are left out
        assert "left out: " in said, said
    elif status == 2:
        assert said.startswith("error: "), said
    else:
        assert status == 0, said  # a changed letter may give another good suite
    if status:
        ground.seen.outcome = ADVISED
    (folder / name).write_bytes(whole)
    ground.settle()


def damage_hashes(ground: Trainings) -> None:
    """Damage what is remembered of the data's hashes."""
    ground.copy()
    ground.note(f"file-hashes.json {damage(ground.out / 'file-hashes.json', ground.chance)}")
    ground.settle()


def damage_result(ground: Trainings) -> None:
    """Damage files of finished trainings and scores."""
    ground.copy()
    names = ("result.json", "stage.json", "settings.json", "provenance-1.json", "progress.json")
    path = ground.chance.choice(ground.found(ground.chance.choice(names)))
    ground.note(f"{path.name} of a finished stage {damage(path, ground.chance)}")
    before = {one: one.read_bytes() for one in ground.found("result.json") if one != path}
    runner = ground.start("--no-tracking")
    if ground.ended(runner) == 2:
        (folder,) = re.findall(r"error: (\S+) holds another stage", ground.said(runner))
        shutil.rmtree(folder)
        before.pop(Path(folder) / "result.json")
        ground.seen.outcome = ADVISED
        runner = ground.start("--no-tracking")
        assert ground.ended(runner) == 0, ground.said(runner)
    ground.check(before)


KINDS: tuple[Callable[[Any], None], ...] = (
    kill_training,
    refuse_checkpoint,
    stop_training,
    damage_checkpoint,
    damage_network,
    damage_suite,
    damage_hashes,
    damage_result,
)
