"""Examples, installed apart as their READMEs say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
Run = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path) -> Callable[[str], Run]:
    """Install an example, so that only the processes of what is returned know it."""

    def install(name: str) -> Run:
        source = shutil.copytree(EXAMPLES / name, tmp_path / "source")  # building leaves files
        target = tmp_path / "site"
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
        subprocess.run([*pip, "--target", str(target), str(source)], check=True)
        paths = (str(target), os.environ.get("PYTHONPATH", ""))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "NO_COLOR": "1"}

        def run(*command: str, code: int = 0) -> str:
            """Run ``im-bench COMMAND``, or a Python file, and return what it says."""
            start = () if command[0].endswith(".py") else ("-m", "im_bench.cli.app")
            done = subprocess.run(
                [sys.executable, *start, *command],
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == code, done.stdout + done.stderr
            return done.stdout + done.stderr

        return run

    return install


@pytest.fixture
def shorter(tmp_path: Path) -> Callable[[str, str, str], Path]:
    """Copy a suite of an example, with fewer iterations and a narrower network."""

    def shorter(example: str, suite: str, iterations: str) -> Path:
        text = (EXAMPLES / example / suite).read_text()
        smaller = text.replace("[64, 64]", "[32, 32]").replace(iterations, "iterations: 6")
        assert smaller != text.replace("[64, 64]", "[32, 32]")
        path = tmp_path / suite
        path.write_text(smaller.replace("width: 0.5", "width: 0.25"))
        return path

    return shorter
