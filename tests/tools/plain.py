"""A plain segmentor of MMSegmentation on a few small pictures, as a user has it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from im_bench.tools.commands import run_test, run_training

_names = itertools.count()
CONFIG = """
default_scope = "mmseg"
norm = dict(type="BN", requires_grad=True)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor", mean=[60.0] * 3, std=[60.0] * 3, bgr_to_rgb=True,
        size=(32, 32), pad_val=0, seg_pad_val=255,
    ),
    backbone=dict(
        type="ResNetV1c", depth=18, base_channels=4, stem_channels=4, num_stages=4,
        out_indices=(3,), norm_cfg=norm,
    ),
    decode_head=dict(
        type="FCNHead", in_channels=32, channels=8, in_index=0, num_convs=1, concat_input=False,
        num_classes=2, norm_cfg=norm, dropout_ratio=0, align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss"),
    ),
    test_cfg=dict(mode="whole"),
)
load = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
dataset = dict(
    type="BaseSegDataset", data_root="ROOT", img_suffix=".png", seg_map_suffix=".png",
    metainfo=dict(classes=("background", "disc"), palette=[[0, 0, 0], [200, 0, 0]]),
    data_prefix=dict(img_path="images", seg_map_path="masks"), pipeline=load,
)
train_dataloader = dict(
    batch_size=2, num_workers=0, dataset=dataset, sampler=dict(type="InfiniteSampler")
)
val_dataloader = dict(
    batch_size=1, num_workers=0, dataset=dataset, sampler=dict(type="DefaultSampler", shuffle=False)
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01))
train_cfg = dict(type="IterBasedTrainLoop", max_iters=2, val_interval=1)
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=1, save_best="mIoU"),
)
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
log_level = "WARNING"
"""


def write_plain(folder: Path, images: int = 3) -> Path:
    """Write the pictures and the config; return its path."""
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / "data" / name).mkdir(parents=True)
    for index in range(images):
        mask = generator.integers(2, size=(4, 4), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        image = (mask[..., None] * 140 + generator.integers(20, 60, (32, 32, 3))).astype(np.uint8)
        Image.fromarray(image).save(folder / "data" / "images" / f"{index}.png")
        Image.fromarray(mask).save(folder / "data" / "masks" / f"{index}.png")
    config = folder / "plain.py"
    config.write_text(CONFIG.replace("ROOT", str(folder / "data")))
    return config


def train(config: Path, work_dir: Path, *options: str, arguments: Any = ()) -> None:
    """Train; ``options`` are those of ``--cfg-options``."""
    named = ("--cfg-options", f"experiment_name=plain-{next(_names)}", *options)
    run_training([str(config), *named, "--work-dir", str(work_dir), *arguments])


def evaluate(config: Path, checkpoint: Path, *options: str, arguments: Any = ()) -> None:
    """Evaluate; ``options`` are those of ``--cfg-options``."""
    named = ("--cfg-options", f"experiment_name=plain-{next(_names)}", *options)
    work_dir = str(config.parent / "test")
    run_test([str(config), str(checkpoint), *named, "--work-dir", work_dir, *arguments])
