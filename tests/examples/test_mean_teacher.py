"""The example of a method in a package of its own, installed as its README says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "mean_teacher"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Install the example apart, so that only processes with this environment know it."""
    source = shutil.copytree(EXAMPLE, tmp_path / "source")  # building leaves files behind
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)
    return {**os.environ, "PYTHONPATH": str(target), "NO_COLOR": "1"}


def test_example_runs_against_built_in_methods(environment, tmp_path):
    suite = tmp_path / "compare.yaml"
    text = (EXAMPLE / "compare.yaml").read_text()
    smaller = text.replace("[64, 64]", "[32, 32]").replace("iterations: 150", "iterations: 6")
    assert smaller != text
    suite.write_text(smaller.replace("width: 0.5", "width: 0.25"))
    command = [sys.executable, "-m", "im_bench.cli.app", "run", "--suite", str(suite)]
    command += ["--out", str(tmp_path / "runs"), "--no-tracking"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = filter(None, map(str.strip, done.stdout.splitlines()))
    rows = {line.split("  ")[0]: line.split("  ")[1:] for line in lines}
    for title in ("FixMatch", "Mean Teacher", "Mean Teacher + IM"):
        # The score, and what masks add to it.
        assert float(" ".join(rows[title]).split()[0]) >= 0
