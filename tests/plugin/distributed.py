"""What each process of the distributed test runs: ``pictures work_dir checkpoint checkpoint``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from torch import nn

import im_bench.tools.registrations  # noqa: F401 - all that a config may name
from im_bench.plugin import CheckpointTeachers
from im_bench.training.together import leave_together

from .semi_trainings import semi_data, semi_runner
from .trainings import CUSTOM, PSPNET, model_config, runner

# MMEngine's own choice names a GPU.
DISTRIBUTED: dict[str, Any] = {
    "launcher": "pytorch",
    "cfg": {"model_wrapper_cfg": {"type": "MMDistributedDataParallel", "device_ids": None}},
}


def total(network: nn.Module) -> float:
    return float(sum(each.double().abs().sum() for each in network.parameters()))


def train(work_dir: Path, pictures: Path, **fields: Any) -> tuple[Any, list[Any]]:
    training = runner(pictures, work_dir, model_config(CUSTOM), **DISTRIBUTED, **fields)
    seen: list[Any] = []
    step = training.model.train_step

    def spied(data: Any, optim_wrapper: Any) -> Any:
        seen.extend(data["data_samples"][2:])
        return step(data, optim_wrapper)

    training.model.train_step = spied
    training.train()
    return training, seen


def train_method(work_dir: Path, pictures: Path, hook: dict[str, Any]) -> tuple[int, nn.Module]:
    """Return for how many images the teachers of this process were asked, and the student."""
    labels, asked = CheckpointTeachers.labels, 0

    def spied(*args: Any) -> torch.Tensor:
        nonlocal asked
        asked += 1
        return labels(*args)

    CheckpointTeachers.labels = spied  # type: ignore[method-assign]
    training = semi_runner(work_dir, semi_data(pictures), hook, **DISTRIBUTED)
    training.train()
    CheckpointTeachers.labels = labels  # type: ignore[method-assign]
    return asked, training.model.module.student


def main() -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")  # MMEngine's launcher asks for a GPU
    train_all()
    leave_together()
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    Path(sys.argv[2], f"threads{os.environ['RANK']}.json").write_text(json.dumps(threads))


def train_all() -> None:
    pictures, work_dir = Path(sys.argv[1]), Path(sys.argv[2])
    ema = {"teachers": {"type": "EmaTeachers", "decays": [0.5, 0.9]}}
    training, _ = train(work_dir / "ema", pictures, hook=ema, save_every=2)
    hook = next(each for each in training.hooks if hasattr(each, "ensemble"))
    cache = str(work_dir / "cache")
    frozen = {
        "teachers": {
            "type": "CheckpointTeachers",
            "checkpoints": sys.argv[3:5],
            "models": [model_config(PSPNET)] * 2,
        },
        "cache_dir": cache,
    }
    _, seen = train(work_dir / "cached", pictures, hook=frozen, cache_dir=cache, iterations=1)
    method_hook = {**frozen, "cache_dir": str(work_dir / "method-cache")}
    asked, method_student = train_method(work_dir / "method", pictures, method_hook)
    report = {
        "asked": asked,
        "method_student": total(method_student),
        "wrapped": type(training.model).__name__,
        "world": get_world_size(),
        "images": [sample.img_path for sample in seen],
        "inconsistent": [bool(sample.inconsistency.data.any()) for sample in seen],
        "student": total(training.model.module),
        "average": total(hook.ensemble.teachers[1].network),
    }
    (work_dir / f"rank{get_rank()}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
