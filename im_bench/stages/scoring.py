"""Scores of a trained network on one part of a data set."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.evaluator import Evaluator
from mmseg.registry import METRICS

import im_bench.evaluation.metrics  # noqa: F401 - registers what metric_configs names
from im_bench.data.arrays import ArrayDataset, Part, images_per_batch, read_meta
from im_bench.models.segmentor import LabelSpaceSegmentor
from im_bench.training.config import metric_configs

BATCH = 32


def score(model: LabelSpaceSegmentor, data_dir: Path, part: Part) -> dict[str, float]:
    """Return the metrics of the data set's label space, by name.

    Args:
        model: In evaluation mode.
        data_dir: The folder ``arrays`` of the data stage.
        part: ``val`` or ``test``.
    """
    dataset = ArrayDataset(data_dir, part)
    meta = read_meta(data_dir)
    evaluator = Evaluator([METRICS.build(config) for config in metric_configs(meta)])
    evaluator.dataset_meta = dataset.metainfo
    with torch.inference_mode():
        size = images_per_batch(meta, BATCH)
        for start in range(0, len(dataset), size):
            batch = dataset.__getitems__(range(start, min(start + size, len(dataset))))
            evaluator.process(model.val_step(batch))
    scores: dict[str, float] = evaluator.evaluate(len(dataset))
    return scores
