"""The example that the user guide shows trains as it stands there."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from .trainings import PSPNET, checkpoint, model_config

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "plain_segmentor"
GUIDE = ROOT / "docs" / "inconsistency-masks-in-mmsegmentation.md"


@pytest.mark.parametrize("name", ["supervised", "with_ema_teachers", "with_checkpoint_teachers"])
def test_the_example_trains(name: str, pictures: Path, tmp_path: Path):
    config = Config.fromfile(EXAMPLE / f"{name}.py")
    # Small and here: the data's folder, the sizes, the schedule. The rest is as it stands.
    small = {
        "work_dir": str(tmp_path / "run"),
        "train_cfg.max_iters": 2,
        "train_dataloader.num_workers": 0,
        "train_dataloader.persistent_workers": False,
        "model.data_preprocessor.size": (64, 64),
        "model.backbone.embed_dims": 8,
        "model.backbone.num_heads": [1, 2, 4, 8],
        "model.decode_head.in_channels": [8, 16, 32, 64],
        "model.decode_head.channels": 16,
    }
    data = "train_dataloader.dataset"
    parts = {data: "images/train"}
    if name != "supervised":
        parts = {f"{data}.labelled": "images/train", f"{data}.unlabelled": "images/more"}
    for part, folder in parts.items():
        small |= {f"{part}.data_root": str(pictures), f"{part}.data_prefix.img_path": folder}
    steps = [*config.train_pipeline]
    steps[2] = {**steps[2], "scale": (64, 64)}
    steps[3] = {**steps[3], "crop_size": (64, 64)}
    small[f"{next(iter(parts))}.pipeline"] = steps
    if name == "with_checkpoint_teachers":
        student = {"backbone": config.model.backbone, "decode_head": config.model.decode_head}
        small |= {f"{data}.cache_dir": str(tmp_path / "cache")}
        config.merge_from_dict(small)
        student = {key: config.model[key].to_dict() for key in student}
        (tmp_path / "pspnet.py").write_text(f"model = {model_config(PSPNET)!r}")
        hook = config.custom_hooks[0]
        hook.cache_dir = str(tmp_path / "cache")
        hook.teachers.checkpoints = [
            checkpoint(tmp_path / "1.pth", student, 1),
            checkpoint(tmp_path / "2.pth", PSPNET, 2),
        ]
        hook.teachers.models[1] = str(tmp_path / "pspnet.py")
    config.merge_from_dict(small)
    training = Runner.from_cfg(config)
    training.train()
    assert training.iter == 2
    assert training.message_hub.get_scalar("train/loss").current() > 0


def test_the_guide_shows_the_example():
    guide = GUIDE.read_text(encoding="utf-8")
    for name in ("with_ema_teachers", "with_checkpoint_teachers"):
        code = (EXAMPLE / f"{name}.py").read_text(encoding="utf-8")
        for part in code.split("\n\n")[3:]:
            assert part.strip() in guide, f"the guide shows another {name}.py"
