"""A step without a training around it."""

from __future__ import annotations

from typing import Any

import torch

from im_bench.semi.masking import Masking
from im_bench.semi.network import Network
from im_bench.semi.step import Clock, Step, View


def step_of(model: Any, views: dict[str, View] | None = None, **masking: Any) -> Step:
    """Return a step of a model on random labelled images."""
    return Step(
        labelled=torch.rand(1, 3, 32, 32),
        labels=torch.zeros(1, 32, 32, dtype=torch.uint8),
        views=views or {},
        student=Network(model.student),
        second=None,
        state=model.state,
        space=model.space,
        clock=Clock(),
        generator=torch.Generator().manual_seed(0),
        normalise=model.data_preprocessor.normalise,
        supervise=lambda logits, labels, auxiliary: model.space.loss(logits, labels),
        masking=Masking(**masking),
    )
