"""A suite of real trainings, killed again and again, ends as if nothing had happened."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_end_to_end import im_bench, make_suite

KILLS = 20
TIMING = {"images_per_second", "peak_memory"}


def command(suite: Path, out: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "im_bench.cli.app", "run", "--suite", str(suite)),
        *("--out", str(out), "--data", "spots", "--no-tracking", "--device", "cpu"),
    ]


def outcomes(out: Path) -> dict[str, Any]:
    """Return what each stage came to, without how fast."""
    found = {}
    for path in sorted(out.glob("stages/**/result.json")):
        outcome = json.loads(path.read_text())["outcome"]
        found[str(path.parent.relative_to(out))] = {
            name: value for name, value in outcome.items() if name not in TIMING
        }
    return found


def finished(out: Path) -> dict[Path, int]:
    """Return when each stage that is done was done."""
    return {path: path.stat().st_mtime_ns for path in out.glob("stages/**/result.json")}


@pytest.mark.timeout(900)
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    suite = make_suite(tmp_path)
    # Enough work that even a fast machine is killed often before it is done.
    text = suite.read_text().replace("equal: {iterations: 6}", "equal: {iterations: 800}")
    suite.write_text(text.replace("seeds: [1]", "seeds: [1, 2]"))
    subprocess.run(command(suite, tmp_path / "calm"), check=True, capture_output=True)

    out, chance = tmp_path / "killed", random.Random(7)
    kills = 0
    while True:
        before = finished(out)
        runner = subprocess.Popen(command(suite, out), stdout=subprocess.DEVNULL)
        try:
            runner.wait(timeout=chance.uniform(2.0, 5.0))
        except subprocess.TimeoutExpired:
            runner.kill()
            runner.wait()
            kills += 1
        after = finished(out)
        assert {path: after[path] for path in before} == before, "a finished stage ran again"
        if runner.returncode == 0:
            break
        if kills == KILLS:
            subprocess.run(command(suite, out), check=True, capture_output=True)
            break
    assert kills >= KILLS // 2, "the suite was done too soon to be killed often"
    assert outcomes(out) == outcomes(tmp_path / "calm")
    tables = [
        im_bench("table", "--suite", suite, "--out", folder, "--data", "spots", "--format", "csv")
        for folder in (out, tmp_path / "calm")
    ]
    assert tables[0] == tables[1]
