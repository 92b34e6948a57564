"""Tiny trainings of MMSegmentation: architectures, data on disk, and runners."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mmseg.datasets  # noqa: F401  registers
import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS
from PIL import Image
from torch import nn

import im_bench.models.dinov2
import im_bench.models.dpt
import im_bench.models.preprocessor
import im_bench.plugin  # noqa: F401  registers

CLASSES = 4
SIZE = 64
NORM = {"type": "BN"}
PREPROCESSOR = {
    "type": "SegDataPreProcessor",
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
    "bgr_to_rgb": True,
    "size_divisor": 32,
}

_names = itertools.count()


@MODELS.register_module()
class PluginTestBackbone(nn.Module):
    """A backbone of a user's own."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout2d(0.5)
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.layers(x)]


@MODELS.register_module()
class PluginTestSteadyBackbone(PluginTestBackbone):
    """The same without randomness."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = self.layers[:-1]


@OPTIM_WRAPPERS.register_module()
class PluginTestAmpWrapper(OptimWrapper):
    """What AmpOptimWrapper does on a GPU, on which it insists."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast("cpu", dtype=torch.bfloat16):
            yield


def head(kind: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "num_classes": CLASSES,
        "norm_cfg": NORM,
        "align_corners": False,
        "loss_decode": {"type": "CrossEntropyLoss"},
        **fields,
    }


def resnet18(**fields: Any) -> dict[str, Any]:
    return {
        "type": "ResNetV1c",
        "depth": 18,
        "base_channels": 8,
        "stem_channels": 8,
        "norm_cfg": NORM,
        **fields,
    }


CUSTOM = {
    "backbone": {"type": "PluginTestBackbone"},
    "decode_head": head("FCNHead", in_channels=8, channels=8, num_convs=1),
}
SEGFORMER = {
    "backbone": {
        "type": "MixVisionTransformer",
        "embed_dims": 8,
        "num_stages": 4,
        "num_layers": [1, 1, 1, 1],
        "num_heads": [1, 2, 4, 8],
        "patch_sizes": [7, 3, 3, 3],
        "sr_ratios": [8, 4, 2, 1],
        "out_indices": [0, 1, 2, 3],
    },
    "decode_head": head(
        "SegformerHead", in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3], channels=16
    ),
}
PSPNET = {
    "backbone": resnet18(dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1)),
    "decode_head": head("PSPHead", in_channels=64, in_index=3, channels=16),
    "auxiliary_head": head("FCNHead", in_channels=32, in_index=2, channels=8, num_convs=1),
}
DEEPLABV3PLUS = {
    "backbone": resnet18(dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1)),
    "decode_head": head(
        "DepthwiseSeparableASPPHead",
        in_channels=64,
        in_index=3,
        channels=16,
        dilations=(1, 12, 24, 36),
        c1_in_channels=8,
        c1_channels=8,
    ),
}
DINOV2 = {
    "backbone": {
        "type": "DINOv2",
        "weights": "random",
        "out_indices": [0, 1, 2, 3],
        "options": {
            "hidden_size": 12,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "image_size": 70,
        },
    },
    "decode_head": {
        "type": "NormFreeDPTHead",
        "in_channels": 12,
        "channels": 8,
        "widths": [4, 6, 8, 10],
        "num_classes": CLASSES,
        "loss_decode": {"type": "CrossEntropyLoss"},
    },
}
UPERNET_SWIN = {
    "backbone": {
        "type": "SwinTransformer",
        "embed_dims": 12,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 2, 3, 6],
        "window_size": 4,
    },
    "decode_head": head(
        "UPerHead", in_channels=[12, 24, 48, 96], in_index=[0, 1, 2, 3], channels=16
    ),
}
FAST_SCNN = {
    "backbone": {
        "type": "FastSCNN",
        "downsample_dw_channels": (8, 12),
        "global_in_channels": 16,
        "global_block_channels": (16, 24, 32),
        "global_out_channels": 32,
        "higher_in_channels": 16,
        "lower_in_channels": 32,
        "fusion_out_channels": 32,
        "norm_cfg": NORM,
    },
    "decode_head": head(
        "DepthwiseSeparableFCNHead", in_channels=32, channels=16, concat_input=False, in_index=-1
    ),
}
ARCHITECTURES = {
    "segformer-mit": SEGFORMER,
    "upernet-swin": UPERNET_SWIN,
    "dpt-dinov2": DINOV2,
    "pspnet-r18": PSPNET,
    "deeplabv3plus-r18": DEEPLABV3PLUS,
    "fast-scnn": FAST_SCNN,
    "custom": CUSTOM,
}


def model_config(architecture: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return copy.deepcopy(
        {
            "type": "EncoderDecoder",
            "data_preprocessor": PREPROCESSOR,
            "test_cfg": {"mode": "whole"},
            **architecture,
            **fields,
        }
    )


def built(architecture: dict[str, Any], seed: int = 0, **fields: Any) -> nn.Module:
    """Build a segmentor with weights of its own."""
    init_default_scope("mmseg")
    torch.manual_seed(seed)
    model = MODELS.build(ConfigDict(model_config(architecture, **fields)))
    model.init_weights()
    return model


def checkpoint(path: Path, architecture: dict[str, Any], seed: int) -> str:
    torch.save({"state_dict": built(architecture, seed).state_dict(), "meta": {}}, path)
    return str(path)


def relatives(folder: Path, architecture: dict[str, Any], noise: float = 0.1) -> list[str]:
    """Write two checkpoints that mostly agree, as trained teachers do and random ones do not."""
    network = built(architecture, seed=1)
    files = [folder / "elder.pth", folder / "younger.pth"]
    for file in files:
        torch.save({"state_dict": network.state_dict(), "meta": {}}, file)
        for parameter in network.parameters():
            parameter.data *= 1 + noise * torch.randn_like(parameter)
    return [str(file) for file in files]


def write_images(root: Path, labelled: int = 4, unlabelled: int = 4) -> None:
    """Write pictures whose class is the brightness of each quarter."""
    generator = np.random.default_rng(0)
    for name, count in (("train", labelled), ("more", unlabelled)):
        (root / "images" / name).mkdir(parents=True)
        (root / "labels" / name).mkdir(parents=True)
        for index in range(count):
            labels = generator.integers(CLASSES, size=(2, 2)).astype(np.uint8)
            labels = labels.repeat(SIZE // 2, 0).repeat(SIZE // 2, 1)
            noise = generator.integers(40, size=(SIZE, SIZE, 3))
            pixels = (labels[..., None] * 60 + noise).astype(np.uint8)
            Image.fromarray(pixels).save(root / "images" / name / f"{index}.png")
            Image.fromarray(labels).save(root / "labels" / name / f"{index}.png")


def data_config(root: Path, cache_dir: str | None = None, **unlabelled: Any) -> dict[str, Any]:
    common = {
        "type": "BaseSegDataset",
        "img_suffix": ".png",
        "serialize_data": False,
        "data_root": str(root),
        "metainfo": {"classes": tuple("abcd"), "palette": [[i, i, i] for i in range(CLASSES)]},
    }
    pipeline = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations"},
        {"type": "RandomCrop", "crop_size": (SIZE, SIZE), "cat_max_ratio": 0.9},
        {"type": "PackSegInputs"},
    ]
    return {
        "type": "LabelledAndUnlabelled",
        "cache_dir": cache_dir,
        "labelled": {
            **common,
            "data_prefix": {"img_path": "images/train", "seg_map_path": "labels/train"},
            "pipeline": pipeline,
        },
        "unlabelled": {**common, "data_prefix": {"img_path": "images/more"}, **unlabelled},
    }


def runner(
    root: Path,
    work_dir: Path,
    model: dict[str, Any],
    hook: dict[str, Any] | None,
    iterations: int = 2,
    optim: dict[str, Any] | None = None,
    cache_dir: str | None = None,
    save_every: int | None = None,
    **fields: Any,
) -> Runner:
    """Return a runner of MMEngine as a config of MMSegmentation would make it."""
    wrapper = {
        "type": "OptimWrapper",
        "optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9},
        **(optim or {}),
    }
    hooks = [] if hook is None else [{"type": "InconsistencyMaskHook", **hook}]
    return Runner(
        model=ConfigDict(model),
        work_dir=str(work_dir),
        default_scope="mmseg",
        experiment_name=f"plugin-{next(_names)}",
        train_dataloader={
            "dataset": data_config(root, cache_dir),
            "batch_size": 4,
            "num_workers": 0,
            "sampler": {"type": "LabelledUnlabelledSampler", "labelled": 2, "unlabelled": 2},
        },
        train_cfg={
            "type": "IterBasedTrainLoop",
            "max_iters": iterations,
            "val_interval": 10**6,
        },
        optim_wrapper=wrapper,
        default_hooks={
            "logger": {"type": "LoggerHook", "interval": 1, "log_metric_by_epoch": False},
            "checkpoint": {
                "type": "CheckpointHook",
                "by_epoch": False,
                "interval": save_every or 10**6,
                "save_last": False,
            },
        },
        custom_hooks=hooks,
        randomness={"seed": 0},
        log_processor={"by_epoch": False},
        **{"log_level": "WARNING", **fields},
    )
