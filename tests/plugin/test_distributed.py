"""A real training by two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from im_bench.models.checkpoints import load_checkpoint

from .trainings import PSPNET, checkpoint

ROOT = Path(__file__).parents[2]


def test_two_processes_train_together(pictures: Path, tmp_path: Path):
    files = [checkpoint(tmp_path / f"{seed}.pth", PSPNET, seed) for seed in (1, 2)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "tests.plugin.distributed"),
            *(str(pictures), str(tmp_path), *files),
        ],
        cwd=ROOT,
        env=environment,
        check=True,
        timeout=300,
    )
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    for number in range(2):
        # None that could meet the end of the interpreter.
        assert "gloo" not in (tmp_path / f"threads{number}.json").read_text()
    for rank in ranks:
        assert rank["wrapped"] == "MMDistributedDataParallel"
        assert rank["world"] == 2
        assert rank["inconsistent"] == [True] * 2
    # Each process has other images, and labels them by itself.
    assert set(ranks[0]["images"]).isdisjoint(ranks[1]["images"])
    # The averages follow the same weights, on both.
    assert ranks[0]["student"] == ranks[1]["student"]
    assert ranks[0]["average"] == ranks[1]["average"]
    assert ranks[0]["student"] != ranks[0]["average"]
    # Each made its share of the cache: together all four.
    assert [rank["asked"] for rank in ranks] == [2, 2]
    for folder in ("cache", "method-cache"):
        assert len(list((tmp_path / folder).glob("*.png"))) == 4
    assert ranks[0]["method_student"] == ranks[1]["method_student"]
    state = load_checkpoint(tmp_path / "ema" / "iter_2.pth")
    assert len(state["inconsistency_masks"]["networks"]) == 2
