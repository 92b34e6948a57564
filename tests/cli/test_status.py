from __future__ import annotations

from pathlib import Path

from .conftest import Command
from .test_run import LIGHT


def test_tells_each_cell_and_seed_and_why_one_failed(
    command: Command, light: Command, tmp_path: Path
) -> None:
    light("run", "--data", "lesions", "--seeds", "1", *LIGHT, LIGHT_FAIL="im/g2-labels")
    done = command("status")
    assert done.returncode == 0, done.stderr
    rows = {
        words[0]: words[1:]
        for line in done.stdout.splitlines()
        if (words := line.replace("│", " ").split())
    }
    assert rows["lesions/0.1/ldt"] == ["done", "planned", "1/4"]
    assert rows["lesions/0.1/im"] == ["failed", "6/10", "planned", "1/10"]
    assert rows["absent/0.1/im"] == ["no", "data", "no", "data"]
    assert "1 failed" in done.stdout
    failed = "failed: lesions/0.1/s1/im/g2-labels: the masks are upside down: turn them"
    assert failed in done.stdout.splitlines()

    (result,) = tmp_path.glob("runs/stages/lesions/0.1/s1/ldt/scores-*/result.json")
    result.write_text(result.read_text()[:30])
    assert "so its stage counts as not done" in command("status").stdout
