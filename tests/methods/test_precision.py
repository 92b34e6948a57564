"""Every method under bfloat16: the network's own, or an autocast around the whole step."""

from __future__ import annotations

import pytest
import torch
from online_methods import ONLINE, SMALL

from .steps import losses_of, total

KINDS = ["binary", "multiclass", "multilabel"]


def network(kind: str, precision: str) -> dict:
    return {
        "type": "LabelSpaceSegmentor",
        "backbone": {"type": "UNet1x1", "width": 0.25},
        "decode_head": {"type": "UNet1x1Head", "width": 0.25},
        "label_space": {"kind": kind, "outputs": {"binary": 1, "multiclass": 4}.get(kind, 3)},
        "precision": precision,
    }


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ONLINE)
def test_losses_are_float32_and_every_weight_learns(build, batch, name, kind, around):
    method = {"name": name, **SMALL.get(name, {})}
    exact = losses_of(build(kind, method), batch(kind, masks=True), iteration=6)
    precision = "float32" if around else "bfloat16"
    model = build(kind, method, segmentor=network(kind, precision))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=around):
        found = losses_of(model, batch(kind, masks=True), iteration=6)
    total(found).backward()
    assert {key: value.dtype for key, value in found.items()} == dict.fromkeys(exact, torch.float32)
    assert found["labelled.loss"] != exact["labelled.loss"]
    torch.testing.assert_close(found["labelled.loss"], exact["labelled.loss"], rtol=0.05, atol=0)
    learning = [each for each in model.parameters() if each.requires_grad]
    assert all(each.grad is not None and each.grad.isfinite().all() for each in learning)
