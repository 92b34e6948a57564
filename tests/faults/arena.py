"""What a fault happens to: a results folder, runners of one plan in it, and what is promised."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from runner.test_kill import ABOVE, processes_of

from im_bench.runner.store import Store

from . import steps

PACKAGE = str(__package__)
PRELOAD = Path(__file__).parent / "preload"
#: Seconds after which a command counts as hanging, whatever machine this is.
LONGEST = 240.0


#: How a promise was kept.
CONTINUED = "the same command finished everything"
UNHARMED = "no fault came to pass"
RETRIED = "recorded as failed; `--policy retry-failed` finished"
ADVISED = "one sentence said what to do; that done, everything finished"


@dataclass
class Seen:
    """What became of a round, for the report.

    Attributes:
        faults: What was done, one sentence each.
        outcome: How the promise was kept.
    """

    faults: list[str] = field(default_factory=list)
    outcome: str = CONTINUED


class Ground:
    """A folder in which runners meet faults.

    Args:
        folder: An empty folder.
        chance: What decides everything that is left to chance.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.chance = chance
        self.out = folder / "disk" / "runs"
        self.out.parent.mkdir()
        self.seen = Seen()
        self.environment: dict[str, str] = {}
        self.prefix: Sequence[str] = ()
        self.runners: list[subprocess.Popen[bytes]] = []

    def note(self, fault: str) -> None:
        """Take note of a fault that took place."""
        self.seen.faults.append(fault)

    def launch(
        self, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start a command in a process group of its own; what it says goes to a file."""
        path = [str(PRELOAD), *filter(None, [os.environ.get("PYTHONPATH")])]
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.environment,
            **environment,
        }
        with (self.folder / f"said-{len(self.runners)}.txt").open("wb") as said:
            runner = subprocess.Popen(
                [*self.prefix, *command],
                cwd=ABOVE,
                env=variables,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self.runners.append(runner)
        return runner

    def said(self, runner: subprocess.Popen[bytes]) -> str:
        """Return all that a runner has said."""
        path = self.folder / f"said-{self.runners.index(runner)}.txt"
        return path.read_text(errors="replace")

    def ended(self, runner: subprocess.Popen[bytes]) -> int:
        """Return a runner's exit status once it has one."""
        try:
            return runner.wait(LONGEST)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"a runner hangs: {self.said(runner)}") from None

    def quiet(self) -> None:
        """Wait until no process of this round is left: none outlives its runner for long."""
        until(lambda: not processes_of(self.out))

    def check_said(self) -> None:
        """Check that nobody was shown a traceback."""
        for runner in self.runners:
            assert "Traceback" not in self.said(runner), self.said(runner)

    def clear(self) -> None:
        """End whatever is left, however the round went."""
        for runner in self.runners:
            for number in (signal.SIGCONT, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(runner.pid, number)
            runner.wait()


class Arena(Ground):
    """A folder in which a plan of light stages meets faults; see `Ground` for the arguments."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        super().__init__(folder, chance)
        self.journal = folder / "journal"
        self.journal.touch()
        self.environment[steps.JOURNAL] = str(self.journal)
        self.spoilt: set[str] = set()  # slugs whose result a fault has destroyed
        self.attempts = chance.choice((1, 2))
        self.use((chance.randint(2, 3), chance.randint(1, 2), 4, 0.03))
        self.store = Store(self.out)

    def use(self, shape: tuple[int, int, int, float]) -> None:
        """Choose the plan's width and depth, and the steps of each stage and their seconds."""
        self.shape = shape
        self.plan = steps.make_plan(*shape)

    def start(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a runner of the plan."""
        command = [
            *(sys.executable, "-m", f"{PACKAGE}.driver", "--out", str(self.out), "--slots", "2"),
            *("--shape", *map(str, self.shape), "--attempts", str(self.attempts), *words),
        ]
        return self.launch(command, environment)

    def work(self) -> int:
        """Return how much was done so far: lines of the journal."""
        return self.journal.read_bytes().count(b"\n")

    def run_for_a_while(self, runner: subprocess.Popen[bytes]) -> None:
        """Let a runner get a random part of the work done, at most half of it."""
        width, depth, length, _ = self.shape
        target = self.work() + self.chance.randrange((length + 2) * (width * depth + 2) // 2)
        until(lambda: self.work() >= target or runner.poll() is not None)
        time.sleep(self.chance.uniform(0, 0.05))

    def finished(self) -> dict[str, bytes]:
        """Return the results that there are, by slug."""
        found = {}
        for stage in self.plan.graph:
            if self.store.result(stage) is not None:
                path = self.store.folder(stage).path / "result.json"
                found[stage.slug] = path.read_bytes()
        return found

    def settle(self) -> None:
        """Run the same command again, and check all that is promised."""
        before = {slug: text for slug, text in self.finished().items() if slug not in self.spoilt}
        self.complete()
        self.quiet()
        after = self.finished()
        assert {slug: after[slug] for slug in before} == before, "a result was made again"
        assert "sink" in after
        wanted, lines = steps.expected(self.plan), steps.read_journal(self.journal)
        for stage in self.plan.graph:
            folder, result = self.store.folder(stage), self.store.result(stage)
            if result is None and stage.slug in self.spoilt:
                continue  # All that needs it is done, or there would be no sink.
            assert result is not None, stage.slug
            assert result["outcome"] == {"value": wanted[stage.slug]}, stage.slug
            done = 1 + (stage.slug in self.spoilt)
            steps.check_journal(lines[stage.slug], done, result["attempts"])
            artifact = json.loads((folder.path / "artifact.json").read_text())
            assert artifact["value"] == wanted[stage.slug]
            made_by = [line["pid"] for line in lines[stage.slug] if line["what"] == "computed"]
            assert artifact["pid"] == made_by[-1], "somebody wrote after the result's maker"
        self.check_said()

    def complete(self) -> None:
        """Run the same command, and what it advises, until everything is done."""
        runner = self.start()
        status, said = self.ended(runner), self.said(runner)
        if status == 1:
            self._check_failures(said)
            self.seen.outcome = RETRIED
            runner = self.start("--policy", "retry-failed")
            status, said = self.ended(runner), self.said(runner)
        assert status == 0, said

    def _check_failures(self, said: str) -> None:
        failed = [line.split(": ", 2)[1] for line in said.splitlines() if line[:8] == "failed: "]
        assert failed, said
        for stage in self.plan.graph:
            if stage.slug in failed:
                assert self.store.errors(stage), f"{stage.slug} failed without a record: {said}"


class Rule(TypedDict):
    """When a process is hit in what it does to a file; see ``preload/sitecustomize.py``."""

    what: str
    name: str
    after: int
    times: int
    action: str


def rules(ground: Ground, *those: Rule) -> dict[str, str]:
    """Return the environment in which rules hold."""
    return {"FAULTS_RULES": json.dumps(those), "FAULTS_MARK": str(ground.folder / "mark")}


def struck(ground: Ground, rule: Rule, number: int = 0) -> bool:
    """Return whether a rule has hit anything."""
    return (ground.folder / f"mark.{number}.{rule['after']}").exists()


def until(condition: Callable[[], bool], seconds: float = LONGEST) -> None:
    """Wait for something that must come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
