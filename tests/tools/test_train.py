"""Trainings by the real configs, in a tiny form."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import save_checkpoint
from online_methods import ONLINE
from torch import Tensor

from im_bench.methods import registry
from im_bench.models.checkpoints import load_checkpoint
from im_bench.tools.commands import run_test, run_training
from im_bench.tools.configs import load_config

from .conftest import ROOT, UNLABELLED, small

METHODS = [name for name in ONLINE if (ROOT / "mm_configs" / name.replace("-", "_")).is_dir()]
NETWORKS = {"unimatch-v2": "dinov2-s", "segkc": "dinov2-s"}
MASKS = "_base_/inconsistency_masks.py"
FIXMATCH = "mm_configs/fixmatch/fixmatch_r50_cs_1-16.py"
_names = itertools.count()


@pytest.fixture(autouse=True)
def _data(cityscapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYSCAPES", str(cityscapes))


def train(folder: Path, config: str, *arguments: str, **shrunk: Any) -> None:
    options = [*shrunk.pop("options", ()), f"experiment_name=test-{next(_names)}"]
    run_training([*small(config, options=options, **shrunk), "--work-dir", str(folder), *arguments])


def evaluate(folder: Path, config: str, checkpoint: Path, *arguments: Any, **shrunk: Any) -> None:
    config, *options = small(config, **shrunk)
    run_test([config, str(checkpoint), *options, "--work-dir", str(folder), *map(str, arguments)])


def weights(folder: Path, iteration: int) -> dict[str, Tensor]:
    return load_checkpoint(folder / f"iter_{iteration}.pth")["state_dict"]


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_resumes_exactly_and_is_tested(method: str, tmp_path: Path) -> None:
    folder = method.replace("-", "_")
    config = f"mm_configs/{folder}/{method}_{NETWORKS.get(method, 'r50')}_cs_1-8.py"
    options = ["model.method.capacity=64", "model.method.capacity_first=64"]
    shrunk: dict[str, Any] = {"options": options if method == "u2pl" else []}
    if (
        method in NETWORKS
    ):  # Without BatchNorm and momentum, the last step, of rate 0, moves nothing.
        shrunk["iterations"] = 3
    train(tmp_path / "whole", config, **shrunk)
    first, last = weights(tmp_path / "whole", 1), weights(tmp_path / "whole", 2)
    assert not same(first, last)
    train(tmp_path / "resumed", config, "--resume", str(tmp_path / "whole/iter_1.pth"), **shrunk)
    assert same(weights(tmp_path / "resumed", 2), last)

    maps = tmp_path / "maps"
    evaluate(tmp_path / "test", config, tmp_path / "whole/iter_2.pth", "--out", maps, **shrunk)
    assert len(list(maps.glob("*.png"))) == 2


@pytest.fixture(scope="module")
def teachers(cityscapes: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two trainings of FixMatch with different seeds."""
    folder = tmp_path_factory.mktemp("teachers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CITYSCAPES", str(cityscapes))
        for seed in range(2):
            seeded = [f"randomness.seed={seed}"]
            train(folder / str(seed), FIXMATCH, iterations=1, options=seeded)
    return [str(folder / str(seed) / "iter_1.pth") for seed in range(2)]


@pytest.mark.parametrize("method", ["fixmatch", "supervised"])
def test_masks_of_trained_teachers_act_on_a_training(
    method: str, teachers: list[str], tmp_path: Path
) -> None:
    config = f"mm_configs/im/{method}_r50_cs_1-16.py"
    train(tmp_path / "whole", config, "--teachers", *teachers)
    history = load_checkpoint(tmp_path / "whole/iter_2.pth")["message_hub"]["log_scalars"]
    assert 0 < history["train/inconsistent"].current() <= 1
    assert len(list((tmp_path / "whole/pseudo-labels").glob("*.png"))) == UNLABELLED

    resume = ("--resume", str(tmp_path / "whole/iter_1.pth"), "--teachers", *teachers)
    train(tmp_path / "resumed", config, *resume)
    assert same(weights(tmp_path / "resumed", 2), weights(tmp_path / "whole", 2))
    evaluate(tmp_path / "test", config, tmp_path / "whole/iter_2.pth")  # needs no teachers


def test_without_trained_teachers_averages_of_the_student_are_asked(tmp_path: Path) -> None:
    config = "mm_configs/im/u2pl_r50_cs_1-4.py"
    options = ["model.method.capacity=64", "model.method.capacity_first=64"]
    train(tmp_path / "whole", config, options=options)
    resume = ("--resume", str(tmp_path / "whole/iter_1.pth"))
    train(tmp_path / "resumed", config, *resume, options=options)
    assert same(weights(tmp_path / "resumed", 2), weights(tmp_path / "whole", 2))


def test_a_method_of_ones_own_trains_by_the_config_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples" / "mean_teacher")
    monkeypatch.setitem(registry.BUILT_IN, "mean-teacher", "mean_teacher:MeanTeacher")
    page = (ROOT / "docs" / "your-own-method.md").read_text(encoding="utf-8")
    *_, code = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    config, masked = tmp_path / "mean_teacher.py", tmp_path / "masked.py"
    config.write_text(code.replace("/path/to/im-bench", str(ROOT)))
    masked.write_text(f"_base_ = ['mean_teacher.py', '{ROOT}/mm_configs/{MASKS}']")
    train(tmp_path / "out", str(config), iterations=1)
    train(tmp_path / "im", str(masked), iterations=1)
    assert "inconsistency_masks" not in load_checkpoint(tmp_path / "out" / "iter_1.pth")
    assert "inconsistency_masks" in load_checkpoint(tmp_path / "im" / "iter_1.pth")


def test_resuming_takes_the_latest_checkpoint_of_the_work_dir(tmp_path: Path) -> None:
    train(tmp_path, FIXMATCH, "--resume")  # there is none: from the start
    expected = weights(tmp_path, 2)
    (tmp_path / "iter_2.pth").unlink()
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_1.pth"))
    train(tmp_path, FIXMATCH, "--resume")
    assert same(weights(tmp_path, 2), expected)


def test_a_kill_while_a_checkpoint_is_written_loses_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = load_config(FIXMATCH).default_hooks.checkpoint.max_keep_ckpts
    shrunk: dict[str, Any] = {
        "iterations": 4,
        "options": [f"default_hooks.checkpoint.max_keep_ckpts={kept}"],
    }

    def cut(checkpoint: Any, filename: str, *args: Any, **kwargs: Any) -> None:
        if "iter_3" in filename:
            Path(filename).write_bytes(b"half")
            raise KeyboardInterrupt
        save_checkpoint(checkpoint, filename, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("mmengine.runner.runner.save_checkpoint", cut)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, FIXMATCH, **shrunk)
    train(tmp_path, FIXMATCH, "--resume", **shrunk)
    assert (tmp_path / "iter_4.pth").is_file()


def test_amp_computes_in_bfloat16_and_keeps_weights_in_float32(
    teachers: list[str], tmp_path: Path
) -> None:
    train(tmp_path, FIXMATCH, "--amp", iterations=1)
    amp, full = weights(tmp_path, 1), weights(Path(teachers[0]).parent, 1)
    assert not same(full, amp)
    for name, value in full.items():
        assert amp[name].dtype == value.dtype
        torch.testing.assert_close(amp[name], value, rtol=0.5, atol=0.2)


def test_with_accumulated_gradients_student_and_average_move_at_the_optimisers_steps(
    tmp_path: Path,
) -> None:
    config = "mm_configs/imas/imas_r50_cs_1-16.py"
    options = ["optim_wrapper.accumulative_counts=2"]
    train(tmp_path, config, iterations=6, options=options)
    states = [weights(tmp_path, iteration) for iteration in (1, 2, 3, 4)]
    for part in ("student", "companion"):
        name = f"{part}.decode_head.conv_seg.weight"
        second, third, fourth = (state[name] for state in states[1:])
        assert torch.equal(second, third)
        assert not torch.equal(third, fourth)
    assert not torch.equal(states[0][name], states[1][name])


def test_two_processes_train_one_model_on_halved_batches(cityscapes: Path, tmp_path: Path) -> None:
    options = ["batch_is_total=True"]
    config, *shrunk = small(FIXMATCH, iterations=2, batch=4, options=options)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["tools/train.py", config, "--launcher", "pytorch", "--work-dir", str(tmp_path)]
    environment = {**os.environ, "CITYSCAPES": str(cityscapes), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *shrunk], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    kept = (tmp_path / Path(config).name).read_text()
    assert "batch_size = 2" in kept or "batch_size=2" in kept
    assert all(value.isfinite().all() for value in weights(tmp_path, 2).values())


def test_pictures_of_predictions_are_drawn(teachers: list[str], tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    named = [f"experiment_name=test-{next(_names)}"]
    evaluate(tmp_path, FIXMATCH, Path(teachers[0]), "--show-dir", pictures, options=named)
    assert len(list(pictures.rglob("*.png"))) == 2


def test_a_training_keeps_freed_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Called(Exception):  # noqa: N818 - it ends the training before it begins
        pass

    def called() -> None:
        raise Called

    monkeypatch.setattr("im_bench.training.runner.keep_freed_memory", called)
    with pytest.raises(Called):
        run_training(small(FIXMATCH, 1, options=[f"work_dir={tmp_path}"]))
