"""Batches at the edge of what occurs: no step may give NaN, in its losses or its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from online_methods import ONLINE, teaching

from im_bench.data.label_spaces import IGNORED

from .steps import losses_of, total

KINDS = ["binary", "multiclass", "multilabel"]
Raw = dict[str, Any]


def set_maps(raw: Raw, name: str, value: bool) -> None:
    for branch in ("unlabelled", "partner"):
        raw["data_samples"][branch][name][:] = value


def all_inconsistent(raw: Raw) -> None:
    set_maps(raw, "inconsistent", True)


def all_padding(raw: Raw) -> None:
    set_maps(raw, "inconsistent", False)
    set_maps(raw, "valid", False)


def all_black(raw: Raw) -> None:
    for images in raw["inputs"].values():
        images[:] = 0


def nothing_labelled(raw: Raw) -> None:
    raw["data_samples"]["labelled"][:] = IGNORED


def one_class(raw: Raw) -> None:
    raw["data_samples"]["labelled"][:] = 0
    for branch in ("unlabelled", "partner"):
        raw["data_samples"][branch]["consensus"][:] = 0


EXTREMES = [all_inconsistent, all_padding, all_black, nothing_labelled, one_class]


def step(model: Any, raw: Raw) -> dict[str, torch.Tensor]:
    losses = losses_of(model, raw, iteration=6)
    total(losses).backward()
    model.after_step()
    assert all(each.isfinite() for each in losses.values()), losses
    learning = [each for each in model.parameters() if each.requires_grad]
    assert all(each.grad is not None and each.grad.isfinite().all() for each in learning)
    assert all(each.isfinite().all() for each in model.state_dict().values())
    return losses


@pytest.mark.parametrize("change", EXTREMES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ONLINE)
def test_nothing_breaks(build, batch, name: str, kind: str, change: Callable[[Raw], None]):
    raw = batch(kind, masks=True)
    change(raw)
    step(build(kind, {"name": name, **teaching(name)}), raw)


@pytest.mark.parametrize("change", [all_inconsistent, all_padding])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ONLINE)
def test_what_nobody_vouches_for_teaches_nothing(build, batch, name, kind, change):
    fields = teaching(name)
    if name in ("imas", "fpl", "u2pl"):
        fields["ignore_padding"] = True  # in their originals padding teaches
    if name == "rankmatch":
        fields["rank_pixels"] = "kept"
    raw = batch(kind, masks=True)
    change(raw)
    losses = step(build(kind, {"name": name, **fields}), raw)
    taught = [
        value
        for key, value in losses.items()
        if "loss" in key and "labelled" not in key.replace("unlabelled", "")
        if key != "contrastive.loss"  # labelled images alone have some
    ]
    assert taught
    assert not any(taught)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ONLINE)
def test_a_batch_may_be_a_single_grey_image(build, batch, name, kind):
    network = {
        "type": "LabelSpaceSegmentor",
        "backbone": {"type": "UNet1x1", "width": 0.25, "in_channels": 1},
        "decode_head": {"type": "UNet1x1Head", "width": 0.25},
        "label_space": {"kind": kind, "outputs": {"binary": 1, "multiclass": 4}.get(kind, 3)},
    }
    raw = batch(kind, count=1, masks=True)
    raw["inputs"] = {branch: images[..., :1] for branch, images in raw["inputs"].items()}
    step(build(kind, {"name": name, **teaching(name)}, segmentor=network), raw)
