"""The loss on the validation images, as an MMEngine metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from im_bench.data.label_spaces import label_space as build_label_space


@METRICS.register_module()
class LossMetric(BaseMetric):
    """``loss``: the training loss, averaged over all valid pixels of the data set.

    Args:
        label_space: As for :class:`~im_bench.models.segmentor.LabelSpaceSegmentor`.
        kwargs: As for any metric of MMEngine.
    """

    def __init__(self, label_space: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.space = build_label_space(**label_space)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Add a batch of predictions that carry ``seg_logits`` and ``gt_sem_seg``."""
        logits = torch.stack([sample["seg_logits"]["data"] for sample in data_samples])
        labels = torch.cat([sample["gt_sem_seg"]["data"] for sample in data_samples])
        pixels = self.space.valid(labels).sum()
        self.results.append((self.space.loss(logits, labels) * pixels, pixels))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the mean over the pixels of all batches."""
        total = sum(float(loss) for loss, _ in results)
        pixels = sum(int(pixels) for _, pixels in results)
        return {"loss": total / max(pixels, 1)}
