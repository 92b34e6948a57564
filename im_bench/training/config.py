"""From the description of a training to MMEngine's config."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from im_bench.data.arrays import images_per_batch, read_meta, training_images
from im_bench.errors import ImBenchError
from im_bench.evaluation.metric import ImageMetric
from im_bench.evaluation.registry import METRICS, metric_class
from im_bench.methods.registry import method_class
from im_bench.training.description import OnlineTraining, SupervisedTraining, Training
from im_bench.training.momentum import norm_momentum
from im_bench.training.specs import ModelSpec

# Keras' default, where torch has 1e-8. Keras adds it to the root of the second moment as it is,
# torch to the bias-corrected root, so that it counts less here in the first steps.
_ADAM_EPSILON = 1e-7
# Registers all that a config names.
_REGISTRATIONS = "im_bench.training.runner"
# Processes that cut crops for a GPU.
_WORKERS = 4


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; ``"auto"`` is CUDA where there is one, else the CPU.

    Raises:
        ImBenchError: There is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ImBenchError(f"unknown device {name!r}: use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ImBenchError(f"there is no device {name!r} here: use --device auto or cpu")
    return device


def build_config(
    training: Training,
    data_dir: Path,
    work_dir: Path,
    pseudo_dir: Path | None = None,
    device: torch.device | None = None,
) -> Config:
    """Return the MMEngine config of one training: all of it, as ``tools/train.py`` takes it.

    Args:
        training: What is trained.
        data_dir: The folder ``arrays`` of the data stage.
        work_dir: Where the training writes.
        pseudo_dir: The folder of the pseudo-label stage, if the training has one.
        device: Where it trains; default CPU.

    Raises:
        ImBenchError: A field has a value that cannot be.
    """
    device = device or torch.device("cpu")
    meta = read_meta(data_dir)
    iterations = count_iterations(training, data_dir, pseudo_dir)
    return Config(
        {
            "runner_type": "CellRunner",
            "custom_imports": {"imports": [_REGISTRATIONS, *custom_imports(training)]},
            "default_scope": "mmseg",
            "work_dir": str(work_dir),
            "device": str(device),
            "resume": True,
            "randomness": {"seed": training.seed % 2**32},
            "env_cfg": {"cudnn_benchmark": device.type == "cuda"},
            "log_level": "ERROR",
            "model": _model(training, meta),
            "optim_wrapper": _optimiser(training),
            "param_scheduler": _schedule(training, iterations),
            "train_cfg": {
                "type": "IterBasedTrainLoop",
                "max_iters": iterations,
                "val_interval": -(-iterations // training.validations),
            },
            "val_cfg": {"type": "ValLoop"},
            "train_dataloader": _training_loader(training, data_dir, pseudo_dir, device),
            "batch_is_total": True,
            "val_dataloader": {
                **_loader(
                    {"data_dir": str(data_dir), "part": "val"},
                    images_per_batch(meta, training.batch),
                    device,
                ),
                "sampler": {"type": "WholeSampler"},
                "batch_sampler": {"type": "RankBatchSampler"},
            },
            "val_evaluator": [
                *metric_configs(meta, training.monitor),
                *(
                    {"type": kind, "label_space": _label_space(training, meta)}
                    for kind in ("LossMetric", "OnlyLabelMetric")
                ),
            ],
            # What MMEngine's own do per step waits for the device; ours do not.
            "default_hooks": {
                "runtime_info": None,
                "timer": None,
                "sampler_seed": None,
                "logger": None,
                "param_scheduler": {"type": "ParamSchedulerHook"},
                "checkpoint": None,
            },
            "custom_hooks": _hooks(training, meta),
            "visualizer": {"type": "Visualizer", "vis_backends": []},
        }
    )


def _model(training: Training, meta: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(training, OnlineTraining):
        return semi_supervised_config(training, meta)
    return segmentor_config(training, meta)


def _hooks(training: Training, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    online = isinstance(training, OnlineTraining)
    length = epoch_length(training, meta) if online else 0
    return [
        *([{"type": "SemiSupervisedHook", "epoch_length": length}] if online else []),
        {"type": "StepSeedHook"},
        {"type": "CurveHook"},  # before the state, which is saved when its rows are written
        {
            "type": "TrainingStateHook",
            "monitor": monitored_metric(training, meta),
            "keep": training.keep,
        },
    ]


def segmentor_config(
    training: Training, meta: Mapping[str, Any], model: ModelSpec | None = None
) -> dict[str, Any]:
    """Return the config of the segmentor, for training or inference.

    Args:
        training: The training.
        meta: The packed data set's ``meta.json``.
        model: The network; default: the training's.
    """
    model = model or training.model
    if model.backbone is None:
        backbone: dict[str, Any] = {
            "type": "UNet1x1",
            "in_channels": meta["channels"],
            "width": model.width,
            "norm_momentum": _norm_momentum(training, meta),
        }
        heads: dict[str, Any] = {"decode_head": {"type": "UNet1x1Head", "width": model.width}}
    else:
        backbone = model.backbone
        heads = {"decode_head": model.decode_head}
        if model.auxiliary_head:
            heads["auxiliary_head"] = model.auxiliary_head
        if model.neck:
            heads["neck"] = model.neck
    augmentation = None
    if isinstance(training, SupervisedTraining) and training.augmentation is not None:
        # Of an image and its augmented copies, the image itself is one.
        clean_share = 1 / training.copies if training.copies > 1 else 0.0
        augmentation = {"clean_share": clean_share, **training.augmentation.model_dump(mode="json")}
    windows = training.evaluation
    return {
        "type": "LabelSpaceSegmentor",
        "backbone": copy.deepcopy(backbone),
        **copy.deepcopy(heads),
        "label_space": _label_space(training, meta),
        "precision": training.precision,
        "windows": windows.model_dump(mode="json") if windows.mode != "whole" else None,
        "data_preprocessor": {
            "type": "BatchPreprocessor",
            "seed": training.seed,
            "augmentation": augmentation,
            "mean": model.mean,
            "std": model.std,
        },
    }


def semi_supervised_config(training: OnlineTraining, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the segmentor that an online method trains.

    Args:
        training: The training.
        meta: The packed data set's ``meta.json``.
    """
    segmentor = segmentor_config(training, meta)
    preprocessor = segmentor.pop("data_preprocessor")
    del preprocessor["augmentation"]
    twin = None
    if training.twin is not None:
        other = ModelSpec(**{**training.model.model_dump(), **training.twin})
        twin = segmentor_config(training, meta, other)
        del twin["data_preprocessor"]
    ohem = training.ohem
    return {
        "type": "SemiSupervisedSegmentor",
        "segmentor": segmentor,
        "twin": twin,
        "method": dict(training.method),
        "labelled_loss": {"type": "OhemCrossEntropyLoss", **ohem.model_dump()} if ohem else None,
        "im": training.masking.model_dump() if training.masking else None,
        "seed": training.seed,
        "data_preprocessor": {
            **preprocessor,
            "type": "SemiPreprocessor",
            "flip": training.crop is None,
            "free_rotation": training.free_rotation,
        },
    }


def custom_imports(training: Training) -> list[str]:
    """Return the modules that register a network's own parts, or its twin's."""
    twin = training.twin if isinstance(training, OnlineTraining) else None
    return [*training.model.custom_imports, *(twin or {}).get("custom_imports", ())]


def epoch_length(training: Training, meta: Mapping[str, Any]) -> int:
    """Return the steps of an online method's pass over the unlabelled images.

    Where there are none, it is one over the labelled ones.
    """
    labelled = len(meta["labelled"])
    unlabelled = len(meta["names"]["train"]) - labelled
    return max(1, (unlabelled or labelled) // training.batch)


def count_iterations(training: Training, data_dir: Path, pseudo_dir: Path | None = None) -> int:
    """Return the number of optimiser steps of a training.

    ``equal`` budgets say it. ``paper`` budgets count epochs of ``images * copies // batch`` steps,
    at least one, as the original does; an online method's epoch is one pass over the unlabelled
    images. All batches are whole: of 24 images Keras draws 16 and 8 in turn, here each step has 16.
    """
    if training.budget.kind == "equal":
        return training.budget.iterations
    if isinstance(training, OnlineTraining):
        return training.budget.epochs * epoch_length(training, read_meta(data_dir))
    images = training_images(data_dir, training.part, pseudo_dir) * training.copies
    return training.budget.epochs * max(1, images // training.batch)


def monitored_metric(training: Training, meta: Mapping[str, Any]) -> str:
    """Return the name of the validation metric that chooses the best moment of a training."""
    return training.monitor or str(meta["metric"])


def _norm_momentum(training: Training, meta: Mapping[str, Any]) -> float:
    given, labelled = training.model.norm_momentum, len(meta.get("labelled", ()))
    return norm_momentum(given, training.budget.model_dump(), training.batch, labelled)


def _label_space(training: Training, meta: Mapping[str, Any]) -> dict[str, Any]:
    loss = training.loss
    options = {
        "loss": loss.kind,
        "target_scale": list(loss.target_scale) if loss.target_scale else None,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return {"kind": meta["space"], "outputs": meta["outputs"], **given}


def metric_configs(meta: Mapping[str, Any], monitor: str | None = None) -> list[dict[str, Any]]:
    """Return the configs of the metrics for a packed data set.

    They are those of its label space, and its headline and the monitored one if these look at label
    maps themselves.

    Args:
        meta: The packed data set's ``meta.json``.
        monitor: As in a training.
    """
    if meta.get("cells"):
        configs: list[dict[str, Any]] = [{"type": "CellMetric", "cells": dict(meta["cells"])}]
    else:
        names = {"binary": "Binary", "multiclass": "Multiclass", "multilabel": "Multilabel"}
        configs = [{"type": f"{names[meta['space']]}Metric"}]
    for name in dict.fromkeys([meta["metric"], monitor]):
        if name in METRICS and issubclass(metric_class(name), ImageMetric):
            configs.append({"type": "NamedMetric", "name": name, "space": meta["space"]})
    return configs


def _optimiser(training: Training) -> dict[str, Any]:
    common = {"weight_decay": training.weight_decay, "fused": True}
    kinds = {
        "adamw": {"type": "AdamW", "eps": _ADAM_EPSILON},
        "sgd": {"type": "SGD", "momentum": 0.9},
    }
    factor, rate = training.head_factor, training.learning_rate
    optimizer = {**kinds[training.optimizer], **common, "lr": rate * factor}
    if factor == 1:
        return {"optimizer": optimizer}
    slower = {"custom_keys": {"backbone": {"lr_mult": 1 / factor}}}
    return {"optimizer": optimizer, "paramwise_cfg": slower}


def _schedule(training: Training, iterations: int) -> list[dict[str, Any]]:
    if training.schedule == "constant":
        return []
    return [{"type": "PolyLR", "power": 0.9, "end": iterations, "by_epoch": False}]


def _training_loader(
    training: Training, data_dir: Path, pseudo_dir: Path | None, device: torch.device
) -> dict[str, Any]:
    dataset: dict[str, Any] = {"data_dir": str(data_dir)}
    if pseudo_dir is not None:
        dataset["pseudo_dir"] = str(pseudo_dir)
    if isinstance(training, SupervisedTraining):
        loader = _loader({**dataset, "part": training.part}, training.batch, device)
        return {**loader, "sampler": {"type": "InfiniteSampler", "shuffle": True}}
    dataset |= {
        "type": "SemiArrayDataset",
        "partner": training.method.get("partner", "none"),
        "seed": training.seed,
    }
    meta = read_meta(data_dir)
    if len(meta["labelled"]) == len(meta["names"]["train"]):
        # Without unlabelled images, only a method that needs none can be trained.
        dataset["unlabelled"] = method_class(training.method["name"]).needs_unlabelled
    if training.crop:
        dataset |= {"crop": list(training.crop), "ratio": list(training.scale or ())}
    loader = _loader(dataset, training.batch, device)
    if training.crop and device.type == "cuda":  # a CPU's threads have enough to do
        loader |= {"num_workers": _WORKERS, "persistent_workers": True, "pin_memory": True}
    return {**loader, "sampler": {"type": "TicketSampler"}}


def _loader(dataset: Mapping[str, Any], batch: int, device: torch.device) -> dict[str, Any]:
    return {
        "dataset": {"type": "ArrayDataset", "device": str(device), **dataset},
        "batch_size": batch,
        "num_workers": 0,
        "collate_fn": {"type": "take_batch"},
    }
