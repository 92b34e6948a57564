"""Which labels a model and a metric take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from mmseg.evaluation import IoUMetric
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from torch import nn

from im_bench.data.label_spaces import IGNORED, LabelSpace
from im_bench.errors import ImBenchError
from im_bench.evaluation.metrics import BinaryMetric, MultilabelMetric, OverlapMetric
from im_bench.plugin.networks import plain_segmentor, unwrapped


class LabelRule(NamedTuple):
    """The labels that something takes.

    Attributes:
        who: What takes them, as errors call it.
        classes: Classes are 0 to ``classes - 1``.
        ignored: The label of pixels that do not count; None: there is none.
        multilabel: Whether a label is bits, one for each class.
    """

    who: str
    classes: int
    ignored: int | None
    multilabel: bool = False

    def takes(self, label: int) -> bool:
        """Return whether a label is a class or ignored."""
        return label < self.classes or label == self.ignored


def model_rules(model: nn.Module) -> list[LabelRule]:
    """Return what the parts of a model that learn from labels take; [] if nobody can know."""
    network: Any = plain_segmentor(unwrapped(model))
    space: LabelSpace | None = getattr(unwrapped(model), "space", None) or getattr(
        network, "space", None
    )
    if space is not None:
        multilabel = space.kind == "multilabel"
        ignored = None if multilabel else IGNORED
        return [LabelRule("the model", space.label_count, ignored, multilabel)]
    return [
        LabelRule(name, max(int(head.out_channels), 2), head.ignore_index)
        for name, head in label_heads(network)
    ]


def metric_rules(metrics: list[Any], classes: int) -> list[LabelRule]:
    """Return what the metrics of an evaluation take, as far as it is known.

    Args:
        metrics: Built metrics.
        classes: The number of classes that the data set names.
    """
    rules = []
    for metric in metrics:
        name = type(metric).__name__
        if isinstance(metric, IoUMetric) and not metric.format_only:
            rules.append(LabelRule(name, classes, metric.ignore_index))
        elif isinstance(metric, BinaryMetric):
            rules.append(LabelRule(name, 2, IGNORED))
        elif isinstance(metric, MultilabelMetric):
            rules.append(LabelRule(name, 2**classes, None, multilabel=True))
        elif isinstance(metric, OverlapMetric):
            rules.append(LabelRule(name, classes, IGNORED))
    return rules


def label_heads(network: Any) -> Iterator[tuple[str, Any]]:
    """Give the heads of a segmentor that learn labels as they are, by name.

    Auxiliary heads that make targets of their own, such as borders, are left out.
    """
    for name in ("decode_head", "auxiliary_head"):
        heads = getattr(network, name, None)
        for head in heads if isinstance(heads, nn.ModuleList) else [heads]:
            if not hasattr(head, "out_channels") or not hasattr(head, "ignore_index"):
                continue
            own = getattr(type(head), "loss_by_feat", None) is not BaseDecodeHead.loss_by_feat
            if name == "decode_head" or not own:
                yield name, head


def check_heads(model: nn.Module) -> None:
    """Raise an ImBenchError for a head with one output whose loss compares classes."""
    network: Any = plain_segmentor(unwrapped(model))
    if hasattr(network, "space"):
        return
    for name, head in label_heads(network):
        losses = [each for each in head.modules() if isinstance(each, CrossEntropyLoss)]
        if head.out_channels == 1 and any(not each.use_sigmoid for each in losses):
            raise ImBenchError(
                f"{name} has one output (num_classes={head.num_classes}), from which a softmax "
                "CrossEntropyLoss learns nothing: count the background as a class, num_classes=2, "
                "and for one output add out_channels=1 and use_sigmoid=True in loss_decode"
            )
