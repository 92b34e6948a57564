"""What a campaign has seen, as a page."""

from __future__ import annotations

import os
import platform
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from im_bench.runner.provenance import code_state, device_name

from .arena import ADVISED, CONTINUED, RETRIED, UNHARMED


@dataclass
class Round:
    """One round of a campaign.

    Attributes:
        kind: Its kind of fault.
        faults: What was injected.
        outcome: What came of it, or an empty string if a promise was broken.
        seconds: How long it took.
    """

    kind: str
    faults: list[str]
    outcome: str
    seconds: float


def write(
    path: Path, rounds: list[Round], about: dict[str, str], seed: int, seconds: float
) -> None:
    """Write the report.

    Args:
        path: The page.
        rounds: What happened.
        about: What each kind of fault is, in a sentence.
        seed: What the faults were drawn from.
        seconds: Wall time of the campaign.
    """
    by_kind: dict[str, list[Round]] = defaultdict(list)
    for one in rounds:
        by_kind[one.kind].append(one)
    faults = sum(len(one.faults) for one in rounds)
    broken = sum(not one.outcome for one in rounds)
    commit, dirty = code_state()
    lines = [
        "# Faults: what was injected, and what was lost",
        "",
        f"{faults} faults in {len(rounds)} rounds; **{broken} rounds broke a promise**.",
        "A round lets runners meet faults of one kind, then runs the same command again. Promised",
        "is: it ends with all results, each made once or recorded as failed, and equal to those of",
        "an undisturbed run; what was finished is untouched; no stage runs twice at the same time;",
        "no traceback is shown. Rounds of light stages prove this by a journal that every step",
        "writes; rounds of real trainings compare all outcomes but speed and memory.",
        "",
        f"    pytest tests/faults --faults {len(rounds)} --seed {seed} --report FILE",
        "",
        f"Commit {commit}{' with changes' if dirty else ''}, {datetime.now(timezone.utc):%Y-%m-%d},"
        f" {device_name('cpu')} ({len(os.sched_getaffinity(0))} usable, shared),"
        f" Linux {platform.release()}, Python {platform.python_version()}, seed {seed};"
        f" {seconds / 60:.0f} minutes.",
        "",
        "| kind | what | rounds | faults | the same command finished | recorded as failed, then "
        "`retry-failed` finished | advice followed, then finished | no fault came to pass | lost |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    outcomes = (CONTINUED, RETRIED, ADVISED, UNHARMED)
    for kind, those in by_kind.items():
        seen = Counter(one.outcome for one in those)
        counts = [
            len(those),
            sum(len(one.faults) for one in those),
            *(seen[outcome] for outcome in outcomes),
            seen[""],
        ]
        lines.append(f"| `{kind}` | {about[kind]} | " + " | ".join(map(str, counts)) + " |")
    lines += ["", "## The faults", "", "| kind | fault | times |", "| --- | --- | --- |"]
    for kind, those in by_kind.items():
        times = Counter(fault for one in those for fault in one.faults)
        for fault, count in sorted(times.items()):
            text = fault.replace("|", r"\|")
            lines.append(f"| `{kind}` | {text} | {count} |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
