"""Every method trains a vision transformer, too."""

from __future__ import annotations

import pytest
from online_methods import UNLABELLED, teaching

import im_bench.models.dinov2
import im_bench.models.dpt  # noqa: F401  registers
from im_bench.semi import strong_views

from .steps import losses_of, total
from .test_no_sync import NoWaiting

TINY = {"hidden_size": 12, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 42}
NETWORK = {
    "type": "LabelSpaceSegmentor",
    "backbone": {
        "type": "DINOv2",
        "weights": "random",
        "out_indices": [0, 1, 2, 3],
        "options": TINY,
    },
    "decode_head": {
        "type": "NormFreeDPTHead",
        "in_channels": 12,
        "channels": 8,
        "widths": [4, 6, 8, 10],
    },
    "label_space": {"kind": "multiclass", "outputs": 4},
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", UNLABELLED)
def test_a_step_reaches_every_weight(build, batch, name, precision):
    network = {**NETWORK, "precision": precision}
    model = build(method={"name": name, **teaching(name)}, segmentor=network)
    found = losses_of(model, batch(masks=True), iteration=6)
    total(found).backward()
    model.after_step()
    assert total(found).isfinite()
    learning = [each for each in model.parameters() if each.requires_grad]
    assert all(each.grad is not None and each.grad.isfinite().all() for each in learning)


@pytest.mark.parametrize("name", ["unimatch-v2", "segkc"])
def test_no_step_waits_for_the_device(build, batch, name, monkeypatch):
    monkeypatch.setattr(strong_views, "wanted", lambda drawn: True)  # as on a GPU
    model = build(method={"name": name, **teaching(name)}, segmentor=NETWORK)
    raw = batch(masks=True)
    with NoWaiting():
        total(losses_of(model, raw, iteration=6)).backward()
        model.after_step()
