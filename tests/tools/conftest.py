"""A tiny Cityscapes, and what shrinks a config so that a step takes a moment."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.runner import CheckpointLoader
from PIL import Image

ROOT = Path(__file__).parents[2]
LABELLED, UNLABELLED, VALIDATION = 4, 6, 2
SIZE = (64, 128)
CROP = 48


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    # Reports of the machine and of the config take MMEngine longer than training does here.
    monkeypatch.setattr("mmengine.runner.Runner._log_env", lambda *_: None)
    monkeypatch.setattr("yapf.yapflib.yapf_api.FormatCode", lambda code, **_: (code, False))


@pytest.fixture(scope="session")
def cityscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `im-bench data prepare cityscapes-semi` writes it, with both families."""
    root = tmp_path_factory.mktemp("cityscapes")
    generator = np.random.default_rng(0)
    names = [f"train/ulm_{i:06d}_000019" for i in range(LABELLED + UNLABELLED)]
    names[-1] = names[-1].replace("train", "val")  # held out by the harness, not by the papers
    validation = [f"test/bonn_{i:06d}_000019" for i in range(VALIDATION)]
    for name in [*names, *validation]:
        _write_pair(root, name, generator)
    parts = {"labelled": names[:LABELLED], "unlabelled-and-val": names[LABELLED:]}
    (root / "lists").mkdir()
    (root / "lists" / "test.txt").write_text("".join(f"{name}\n" for name in validation))
    for family in ("u2pl", "unimatch"):
        for split in ("1-16", "1-8", "1-4", "1-2"):
            for part, images in parts.items():
                path = root / "lists" / f"{family}-{split}" / f"{part}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("".join(f"{image}\n" for image in images))
    return root


def _write_pair(root: Path, name: str, generator: np.random.Generator) -> None:
    """Write a picture whose colours tell the class of each of its quarters."""
    labels = generator.integers(3, size=(2, 2)).astype(np.uint8)
    labels = labels.repeat(SIZE[0] // 2, 0).repeat(SIZE[1] // 2, 1)
    noise = generator.integers(30, size=(*SIZE, 3))
    pixels = (labels[..., None] * (70, 20, 50) + noise).astype(np.uint8)
    for array, folder in ((pixels, "images"), (labels, "labels")):
        path = root / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)


def small(
    config: str, iterations: int = 2, batch: int = 2, options: Sequence[str] = ()
) -> list[str]:
    """Return the arguments that train a config in a tiny form, on a CPU."""
    from im_bench.tools.configs import load_config

    loaded = load_config(config)
    networks = [name for name in ("segmentor", "twin") if name in loaded.model]
    parts = [name for name in ("labelled", "unlabelled") if loaded.train_dataloader.dataset[name]]
    return [
        config,
        "--cfg-options",
        *(option for name in networks for option in _network(loaded.model[name], name)),
        *(f"model.{name}.windows.window=64" for name in networks),
        *(f"model.{name}.windows.stride=48" for name in networks),
        "model.labelled_loss.min_kept=100",
        *(crop for part in parts for crop in _crops(loaded, part)),
        f"train_dataloader.batch_size={batch}",
        *(
            f"{loader}.{setting}"
            for loader in ("train_dataloader", "val_dataloader", "test_dataloader")
            for setting in ("num_workers=0", "persistent_workers=False", "pin_memory=False")
        ),
        f"train_cfg.max_iters={iterations}",
        f"train_cfg.val_interval={iterations}",
        "default_hooks.checkpoint.interval=1",
        "default_hooks.checkpoint.max_keep_ckpts=10",
        "default_hooks.logger.interval=1",
        "default_hooks.runtime_info.interval=1",
        "log_level=WARNING",
        *options,
    ]


def _network(network: Any, name: str) -> list[str]:
    """Return the options that make a network small and let it begin at random."""
    if network.backbone.type == "DINOv2":
        width = {"s": 12, "b": 16}[network.backbone.size]
        options = [
            "backbone.weights=random",
            "backbone.out_indices=[0,1,2,3]",
            "backbone.options.num_hidden_layers=4",
            "backbone.options.num_attention_heads=2",
            f"backbone.options.hidden_size={width}",
            f"decode_head.in_channels={width}",
            "decode_head.channels=8",
            "decode_head.widths=[4,6,8,10]",
        ]
    else:
        heads = [each for each in ("decode_head", "auxiliary_head") if each in network]
        options = [
            "backbone.init_cfg=None",
            "backbone.base_channels=4",
            "backbone.stem_channels=8",
            "decode_head.in_channels=128",
            "decode_head.c1_in_channels=16",
            *(f"{head}.channels=8" for head in heads),
            *(f"{part}.norm_cfg.type=BN" for part in ["backbone", *heads]),
            *(["auxiliary_head.in_channels=64"] if "auxiliary_head" in heads else []),
        ]
    return [f"model.{name}.{option}" for option in options]


def _crops(config: object, part: str) -> list[str]:
    """Return the options that shrink the crop, wherever it stands in the pipeline."""
    pipeline = config.train_dataloader.dataset[part].pipeline  # type: ignore[attr-defined]
    path = f"train_dataloader.dataset.{part}.pipeline"
    found = []
    for index, step in enumerate(pipeline):
        if "crop" in step:
            found.append(f"{path}.{index}.crop={CROP}")
        for choice in range(len(step.get("transforms", ()))):
            found.append(f"{path}.{index}.transforms.{choice}.0.crop={CROP}")
    return found


@pytest.fixture(scope="module", autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """Undo what the commands do to the process, which is theirs alone outside of tests."""
    schemes, name = dict(CheckpointLoader._schemes), "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, os.environ.get(name, ""))
        yield
    CheckpointLoader._schemes = OrderedDict(schemes)
