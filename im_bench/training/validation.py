"""What a training learns of its validation images beside their scores, as MMEngine metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from im_bench.data.description import label_values
from im_bench.data.label_spaces import label_space as build_label_space

ONLY_LABEL = "only_label"


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


@METRICS.register_module()
class OnlyLabelMetric(BaseMetric):
    """``only_label``: the label byte of every predicted pixel, if all have the same.

    It is left out where predictions differ, and where the truth has no other label either. A
    network that has learnt nothing so far predicts one label, which scores alone do not tell.

    Args:
        label_space: As for :class:`LossMetric`.
        kwargs: As for any metric of MMEngine.
    """

    def __init__(self, label_space: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.space = build_label_space(**label_space)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Note the smallest and largest label byte of a batch, predicted and true."""
        predicted, truth = (
            torch.cat([sample[name]["data"].flatten() for sample in data_samples])
            for name in ("pred_sem_seg", "gt_sem_seg")
        )
        valid = self.space.valid(truth)
        truth_least, truth_most = truth.where(valid, 255).amin(), truth.where(valid, 0).amax()
        least, most = predicted.aminmax()
        self.results.append(torch.stack([least, most, truth_least, truth_most]))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the one label, if there is one."""
        least, most, truth_least, truth_most = torch.stack(results).unbind(1)
        label = int(least.min())
        truth = int(truth_least.min()), int(truth_most.max())
        unlike = truth[0] <= truth[1] and truth != (label, label)  # the first: pixels are valid
        return {ONLY_LABEL: float(label)} if int(most.max()) == label and unlike else {}


def one_label_warning(label: float, meta: Mapping[str, Any]) -> str:
    """Return the sentence about a network that predicts one label only.

    Args:
        label: Its byte.
        meta: The packed data set's ``meta.json``.
    """
    byte, multilabel = int(label), meta["space"] == "multilabel"
    names = [
        name
        for value, name in label_values(meta["space"], meta["classes"]).items()
        if (byte & value if multilabel else byte == value)
    ]
    return (
        f"every pixel of all {len(meta['names']['val'])} validation images is predicted as "
        f"{' and '.join(names) or 'no class'}: train longer, or change the learning rate"
    )
