"""From a train stage's config to MMEngine's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from im_bench.data.arrays import images_per_batch, read_meta, training_images
from im_bench.errors import ImBenchError
from im_bench.methods.registry import method_class
from im_bench.training.momentum import norm_momentum

# Keras' default, where torch has 1e-8. Keras adds it to the root of the second moment as it is,
# torch to the bias-corrected root, so that it counts less here in the first steps.
_ADAM_EPSILON = 1e-7
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


def mmengine_config(
    config: Mapping[str, Any],
    data_dir: Path,
    work_dir: Path,
    pseudo_dir: Path | None = None,
    device: torch.device | None = None,
) -> Config:
    """Return the MMEngine config of one training.

    Args:
        config: The train stage's config.
        data_dir: The folder ``arrays`` of the data stage.
        work_dir: Where the training writes.
        pseudo_dir: The folder of the pseudo-label stage, if the training has one.
        device: Where it trains; default CPU.

    Raises:
        ImBenchError: A field has a value that cannot be.
    """
    device = device or torch.device("cpu")
    meta = read_meta(data_dir)
    iterations = count_iterations(config, data_dir, pseudo_dir)
    batch = int(config["batch"])
    online = config.get("method") is not None
    return Config(
        {
            "default_scope": "mmseg",
            "work_dir": str(work_dir),
            "device": str(device),
            "randomness": {"seed": int(config["seed"]) % 2**32},
            "env_cfg": {"cudnn_benchmark": device.type == "cuda"},
            "log_level": "ERROR",
            "model": (semi_supervised_config if online else model_config)(config, meta),
            "optim_wrapper": _optimiser(config),
            "param_scheduler": _schedule(config, iterations),
            "train_cfg": {
                "type": "IterBasedTrainLoop",
                "max_iters": iterations,
                "val_interval": -(-iterations // int(config["validations"])),
            },
            "val_cfg": {"type": "ValLoop"},
            "train_dataloader": _training_loader(config, data_dir, pseudo_dir, device),
            "val_dataloader": {
                **_loader(
                    {"data_dir": str(data_dir), "part": "val"},
                    images_per_batch(meta, batch),
                    device,
                ),
                "sampler": {"type": "DefaultSampler", "shuffle": False},
            },
            "val_evaluator": [
                metric_config(meta),
                *(
                    {"type": kind, "label_space": _label_space(config, meta)}
                    for kind in ("LossMetric", "OnlyLabelMetric")
                ),
            ],
            # What these do per step waits for the device; im_bench.training.hooks does not.
            "default_hooks": {
                "runtime_info": None,
                "timer": None,
                "sampler_seed": None,
                "logger": None,
                "param_scheduler": {"type": "ParamSchedulerHook"},
                "checkpoint": None,
            },
            "custom_hooks": [
                {"type": "SemiSupervisedHook", "epoch_length": epoch_length(config, meta)}
            ]
            if online
            else [],
            "visualizer": {"type": "Visualizer", "vis_backends": []},
        }
    )


def model_config(config: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the segmentor, for training or inference.

    Args:
        config: The train stage's config.
        meta: The packed data set's ``meta.json``.
    """
    model = config["model"]
    if model.get("backbone") is None:
        width = float(model.get("width", 1.0))
        backbone = {
            "type": "UNet1x1",
            "in_channels": meta["channels"],
            "width": width,
            "norm_momentum": _norm_momentum(config, meta),
        }
        heads: dict[str, Any] = {"decode_head": {"type": "UNet1x1Head", "width": width}}
    else:
        backbone = dict(model["backbone"])
        heads = {"decode_head": dict(model["decode_head"])}
        if model.get("auxiliary_head"):
            heads["auxiliary_head"] = model["auxiliary_head"]
        if model.get("neck"):
            heads["neck"] = dict(model["neck"])
    return {
        "type": "LabelSpaceSegmentor",
        "backbone": backbone,
        **heads,
        "label_space": _label_space(config, meta),
        "precision": config["precision"],
        "windows": _windows(config),
        "data_preprocessor": {
            "type": "BatchPreprocessor",
            "seed": int(config["seed"]),
            "augmentation": _augmentation(config),
            "mean": model.get("mean"),
            "std": model.get("std"),
        },
    }


def semi_supervised_config(config: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the segmentor that an online method trains.

    Args:
        config: The train stage's config, with ``method``.
        meta: The packed data set's ``meta.json``.
    """
    segmentor = model_config(config, meta)
    preprocessor = segmentor.pop("data_preprocessor")
    del preprocessor["augmentation"]
    ohem, twin = config.get("ohem"), config.get("twin")
    if twin is not None:
        twin = model_config({**config, "model": {**config["model"], **twin}}, meta)
        del twin["data_preprocessor"]
    return {
        "type": "SemiSupervisedSegmentor",
        "segmentor": segmentor,
        "twin": twin,
        "method": dict(config["method"]),
        "labelled_loss": {"type": "OhemCrossEntropyLoss", **ohem} if ohem else None,
        "im": config.get("masking"),
        "seed": int(config["seed"]),
        "data_preprocessor": {
            **preprocessor,
            "type": "SemiPreprocessor",
            "flip": config.get("crop") is None,
            "free_rotation": bool(config.get("free_rotation")),
        },
    }


def epoch_length(config: Mapping[str, Any], meta: Mapping[str, Any]) -> int:
    """Return the steps of an online method's pass over the unlabelled images.

    Where there are none, it is one over the labelled ones.
    """
    labelled = len(meta["labelled"])
    unlabelled = len(meta["names"]["train"]) - labelled
    return max(1, (unlabelled or labelled) // int(config["batch"]))


def count_iterations(
    config: Mapping[str, Any], data_dir: Path, pseudo_dir: Path | None = None
) -> int:
    """Return the number of optimiser steps of a training.

    ``equal`` budgets say it. ``paper`` budgets count epochs of ``images * copies // batch`` steps,
    at least one, as the original does; an online method's epoch is one pass over the unlabelled
    images. All batches are whole: of 24 images Keras draws 16 and 8 in turn, here each step has 16.
    """
    budget = config["budget"]
    if budget["kind"] == "equal":
        return int(budget["iterations"])
    if config.get("method") is not None:
        return int(budget["epochs"]) * epoch_length(config, read_meta(data_dir))
    images = training_images(data_dir, config["part"], pseudo_dir) * int(config["copies"])
    return int(budget["epochs"]) * max(1, images // int(config["batch"]))


def monitored_metric(config: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    """Return the name of the validation metric that chooses the best moment of a training."""
    return str(config.get("monitor") or meta["metric"])


def _norm_momentum(config: Mapping[str, Any], meta: Mapping[str, Any]) -> float:
    given = config["model"].get("norm_momentum")
    labelled = len(meta.get("labelled", ()))
    return norm_momentum(given, config["budget"], int(config["batch"]), labelled)


def _label_space(config: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
    loss = config.get("loss") or {}
    options = {"loss": loss.get("kind"), "target_scale": loss.get("target_scale")}
    given = {name: value for name, value in options.items() if value is not None}
    return {"kind": meta["space"], "outputs": meta["outputs"], **given}


def _windows(config: Mapping[str, Any]) -> dict[str, Any] | None:
    evaluation = config.get("evaluation") or {}
    return dict(evaluation) if evaluation.get("mode", "whole") != "whole" else None


def _augmentation(config: Mapping[str, Any]) -> dict[str, Any] | None:
    if config.get("augmentation") is None:
        return None
    copies = int(config["copies"])
    # Of an image and its augmented copies, the image itself is one.
    clean_share = 1 / copies if copies > 1 else 0.0
    return {"clean_share": clean_share, **config["augmentation"]}


def metric_config(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the metric for a packed data set, by its ``meta.json``."""
    if meta.get("cells"):
        return {"type": "CellMetric", "cells": dict(meta["cells"])}
    names = {"binary": "Binary", "multiclass": "Multiclass", "multilabel": "Multilabel"}
    return {"type": f"{names[meta['space']]}Metric"}


def _optimiser(config: Mapping[str, Any]) -> dict[str, Any]:
    common = {"weight_decay": float(config["weight_decay"]), "fused": True}
    kinds = {
        "adamw": {"type": "AdamW", "eps": _ADAM_EPSILON},
        "sgd": {"type": "SGD", "momentum": 0.9},
    }
    factor, rate = float(config.get("head_factor", 1)), float(config["learning_rate"])
    optimizer = {**kinds[config.get("optimizer", "adamw")], **common, "lr": rate * factor}
    if factor == 1:
        return {"optimizer": optimizer}
    slower = {"custom_keys": {"backbone": {"lr_mult": 1 / factor}}}
    return {"optimizer": optimizer, "paramwise_cfg": slower}


def _schedule(config: Mapping[str, Any], iterations: int) -> list[dict[str, Any]]:
    if config.get("schedule", "constant") == "constant":
        return []
    return [{"type": "PolyLR", "power": 0.9, "end": iterations, "by_epoch": False}]


def _training_loader(
    config: Mapping[str, Any], data_dir: Path, pseudo_dir: Path | None, device: torch.device
) -> dict[str, Any]:
    dataset: dict[str, Any] = {"data_dir": str(data_dir)}
    if pseudo_dir is not None:
        dataset["pseudo_dir"] = str(pseudo_dir)
    if config.get("method") is None:
        loader = _loader({**dataset, "part": config["part"]}, int(config["batch"]), device)
        return {**loader, "sampler": {"type": "InfiniteSampler", "shuffle": True}}
    dataset |= {
        "type": "SemiArrayDataset",
        "partner": config["method"].get("partner", "none"),
        "seed": int(config["seed"]),
    }
    meta = read_meta(data_dir)
    if len(meta["labelled"]) == len(meta["names"]["train"]):
        # Without unlabelled images, only a method that needs none can be trained.
        kind = method_class(config["method"]["name"])
        dataset["unlabelled"] = getattr(kind, "needs_unlabelled", True)
    if config.get("crop"):
        dataset |= {"crop": list(config["crop"]), "ratio": list(config["scale"])}
    loader = _loader(dataset, int(config["batch"]), device)
    if config.get("crop") and device.type == "cuda":  # a CPU's threads have enough to do
        loader |= {"num_workers": _WORKERS, "persistent_workers": True, "pin_memory": True}
    return {**loader, "sampler": {"type": "TicketSampler"}}


def _loader(dataset: Mapping[str, Any], batch: int, device: torch.device) -> dict[str, Any]:
    return {
        "dataset": {"type": "ArrayDataset", "device": str(device), **dataset},
        "batch_size": batch,
        "num_workers": 0,
        "collate_fn": {"type": "take_batch"},
    }
