"""No method waits for the device: a whole step, with the updates after it, never looks at a value.

On a CPU strong views do look, to leave out what no image has drawn; here they are told not to.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from online_methods import ONLINE, SMALL
from torch.utils._python_dispatch import TorchDispatchMode

from im_bench.semi import random_ops, strong_views
from im_bench.semi.ranking import rank_loss

from .steps import losses_of, total

KINDS = ["binary", "multiclass", "multilabel"]
WAITS = {"_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "_unique2", "equal"}


class NoWaiting(TorchDispatchMode):
    """Refuses what makes Python wait for a device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in WAITS, name
        if name in ("index", "index_put", "index_put_"):  # by a mask: counts its pixels on the host
            assert not any(each is not None and each.dtype == torch.bool for each in args[1])
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch):
    for module in (strong_views, random_ops):
        monkeypatch.setattr(module, "wanted", lambda drawn: True)


def step(model: Any, raw: dict[str, Any], iteration: int) -> None:
    losses = losses_of(model, raw, iteration)
    total(losses).backward()
    model.after_step()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ONLINE)
def test_no_step_waits_for_the_device(build, batch, name, kind):
    model = build(kind, {"name": name, **SMALL.get(name, {})})
    batches = [batch(kind, masks=masks) for masks in (False, True)]
    with NoWaiting():
        for raw in batches:
            step(model, raw, iteration=6)  # past the epoch in which teachers are copies


def test_the_adaptive_threshold_and_hard_examples_do_not_wait_either(build, batch):
    model = build(
        method={"name": "crossmatch", "threshold_schedule": "adaptive"},
        labelled_loss={"type": "OhemCrossEntropyLoss", "min_kept": 100},
    )
    raw = batch()
    with NoWaiting():
        step(model, raw, iteration=0)


def test_rankings_of_kept_pixels_and_in_parts_do_not_wait_either(build, batch):
    model = build(method={"name": "rankmatch", "rank_pixels": "kept"})
    raw = batch(masks=True)
    features = torch.randn(2, 3, 4, 4, requires_grad=True)
    agents = torch.arange(6).expand(2, -1)
    with NoWaiting():
        step(model, raw, iteration=0)
        rank_loss(features, features, agents, rows=10).backward()


@pytest.mark.parametrize(
    "look", [bool, float, torch.nonzero, lambda mask: mask.view(1)[mask.view(1)]]
)
def test_waiting_is_noticed(look):
    mask = torch.tensor(True)
    with pytest.raises(AssertionError), NoWaiting():
        look(mask)
