"""``compare`` and ``stats`` on stage folders with known numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from im_bench.files import SEAL, read_json, write_json
from im_bench.planning.plan import make_plan
from im_bench.runner.store import Store

from .conftest import Command

SCORES = {"ldt": {1: 0.5, 2: 0.52}, "im": {1: 0.6, 2: 0.61}}


@pytest.fixture
def known(light: Command, suite: Path, tmp_path: Path) -> Path:
    """Run the suite with light stages, and give its scores known values."""
    done = light("run", "--data", "lesions", "--no-tracking")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "runs"
    plan, store = make_plan(suite, out, tmp_path / "data"), Store(out)
    for method, scores in SCORES.items():
        for seed, value in scores.items():
            stage = plan.graph[plan.cell(f"lesions/0.1/{method}").finals[seed]]
            path = store.folder(stage).path / "result.json"
            result = read_json(path)
            result["outcome"]["test"]["iou"] = value
            del result[SEAL]
            write_json(path, result)
    return out


def values(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_compare_and_stats(known: Path, command: Command, tmp_path: Path) -> None:
    found = values(command("compare", "im", "ldt", "--format", "json"))
    (task,) = found["tasks"]
    assert task["data"] == "lesions"
    assert task["seeds"] == [1, 2]
    assert task["means"] == pytest.approx([0.605, 0.51])
    assert task["difference"]["value"] == pytest.approx(0.095)
    assert found["overall"]["p"] is None
    assert any("absent" in hole for hole in found["holes"])
    assert "at least 6 pairs are needed" in found["conclusion"]

    shown = command("compare", "im", "ldt").stdout
    assert "+9.5 [" in shown
    assert "2 of 2" in shown

    plot = tmp_path / "plot.svg"
    found = values(command("stats", "--baseline", "ldt", "--plot", str(plot), "--format", "json"))
    assert [one["method"] for one in found["methods"]] == ["im", "ldt"]
    assert found["methods"][0]["iqm"]["value"] == pytest.approx(0.605 / 0.51 - 1)
    assert plot.read_text().startswith("<?xml")

    for form in ("terminal", "markdown", "json"):
        target = tmp_path / f"stats.{form}"
        assert command("stats", "--format", form, "--to", str(target)).stdout == ""
        assert "\x1b" not in target.read_text()

    done = command("compare", "im", "--against", str(known))
    assert done.returncode == 2
    assert "is the folder of --out" in done.stderr


def test_against_another_folder(known: Path, command: Command, tmp_path: Path) -> None:
    other = tmp_path / "others"
    known.rename(other)
    shown = command("compare", "im", "--against", str(other))
    assert "Nothing can be concluded" in shown.stdout
    assert "commit" in shown.stdout
    done = command("compare", "im", "--against", str(other), "--budget", "paper")
    assert done.returncode == 2
    assert "under another protocol" in done.stderr
    assert "equal there, paper in the suite" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", "im", "im"), "two different methods"),
        (("compare", "im"), "two different methods"),
        (("compare", "im", "ldt", "--against", "x"), "one with --against"),
        (("compare", "im", "--against", "nowhere"), "nowhere is no results folder"),
        (("compare", "im", "ltd"), "did you mean 'ldt'"),
        (("compare", "im", "ldt", "--format", "csv"), "unknown format"),
        (("stats",), "no results yet"),
        (("stats", "--format", "csv"), "unknown format"),
        (("stats", "--plot", "a.jpg"), "ends in .svg"),
    ],
)
def test_wrong_input_is_one_sentence(words: tuple[str, ...], said: str, command: Command) -> None:
    done = command(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_command_line_starts_without_them() -> None:
    code = (
        "import sys, im_bench.cli.app\n"
        "heavy = {'numpy', 'scipy', 'matplotlib', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
