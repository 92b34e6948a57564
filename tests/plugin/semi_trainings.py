"""Tiny trainings of a semi-supervised method."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmcv.transforms import LoadImageFromFile
from mmengine.config import ConfigDict
from mmengine.runner import Runner
from mmseg.registry import TRANSFORMS

from .trainings import CLASSES, CUSTOM, PREPROCESSOR, data_config

_names = itertools.count()
WHOLE: tuple[dict[str, Any], ...] = ()
CROPS: tuple[dict[str, Any], ...] = ({"type": "RandomScaleCrop", "crop": 48},)


@TRANSFORMS.register_module()
class PluginTestRGBLoader(LoadImageFromFile):
    """A loader of a user's own."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        results = super().transform(results)
        results["img"] = results["img"][..., ::-1]
        return results


def semi_model(bgr_to_rgb: bool = True, **segmentor: Any) -> dict[str, Any]:
    return {
        "type": "SemiSupervisedSegmentor",
        "segmentor": {
            "type": "EncoderDecoder",
            "test_cfg": {"mode": "whole"},
            **CUSTOM,
            **segmentor,
        },
        "method": {"name": "fixmatch", "threshold": 0.0},
        "label_space": {"kind": "multiclass", "outputs": CLASSES},
        "data_preprocessor": {
            "type": "SemiPreprocessor",
            "mean": PREPROCESSOR["mean"],
            "std": PREPROCESSOR["std"],
            "bgr_to_rgb": bgr_to_rgb,
        },
    }


def semi_data(
    root: Path, view: Sequence[dict[str, Any]] = CROPS, load: str = "LoadImageFromFile"
) -> dict[str, Any]:
    parts = data_config(root)
    for name, labels in (("labelled", "LoadAnnotations"), ("unlabelled", "BlankAnnotations")):
        parts[name]["pipeline"] = [{"type": load}, {"type": labels}, *view]
    return {
        "type": "SemiDataset",
        "labelled": parts["labelled"],
        "unlabelled": parts["unlabelled"],
        "partner": "other",
    }


def semi_runner(
    work_dir: Path,
    data: dict[str, Any],
    hook: dict[str, Any] | None,
    model: dict[str, Any] | None = None,
    workers: int = 0,
    iterations: int = 2,
    save_every: int = 10**6,
    **fields: Any,
) -> Runner:
    """Return a runner of MMEngine as a config of ``mm_configs`` would make it."""
    masks = [] if hook is None else [{"type": "InconsistencyMaskHook", **hook}]
    return Runner(
        model=ConfigDict(model or semi_model()),
        work_dir=str(work_dir),
        default_scope="mmseg",
        experiment_name=f"semi-{next(_names)}",
        train_dataloader={
            "dataset": data,
            "batch_size": 2,
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "sampler": {"type": "TicketSampler"},
            "collate_fn": {"type": "collate_semi"},
        },
        train_cfg={
            "type": "IterBasedTrainLoop",
            "max_iters": iterations,
            "val_interval": 10**6,
        },
        optim_wrapper={"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.01}},
        default_hooks={
            "checkpoint": {
                "type": "CheckpointHook",
                "by_epoch": False,
                "interval": save_every,
                "save_last": False,
            }
        },
        custom_hooks=[{"type": "SemiSupervisedHook"}, *masks],
        randomness={"seed": 0},
        log_processor={"by_epoch": False},
        **{"log_level": "WARNING", **fields},
    )


def end_workers(training: Runner) -> None:
    """Stop the persistent workers, for which the garbage collector would wait for seconds."""
    training.train_dataloader._iterator._shutdown_workers()
