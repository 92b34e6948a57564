"""What every method promises."""

from __future__ import annotations

from typing import Any

import pytest

from .steps import keep_everything, losses_of, total

KINDS = ["binary", "multiclass", "multilabel"]
SURE: dict[str, Any] = {"threshold": 0.0}
METHODS: dict[str, dict[str, Any]] = {
    "fixmatch": SURE,
    "fpl": {},
    "crossmatch": SURE,
    "imas": SURE,
    "u2pl": {"features": 8, "capacity": 64, "capacity_first": 64, "queries": 8, "negatives": 4},
    "unimatch": SURE,
    "unimatch-v2": SURE,
    "segkc": SURE,
    "daw": {"threshold": 0.0, "momentum": 1.0},  # statistics, and so the threshold, do not move
    "rankmatch": SURE,
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masks", [False, True])
def test_step_gives_finite_losses_and_gradients(build, batch, name, kind, masks):
    model = build(kind, {"name": name, **METHODS[name]})
    found = losses_of(model, batch(kind, masks=masks))
    total(found).backward()
    assert total(found).isfinite()
    assert all(loss > 0 for key, loss in found.items() if key in ("strong.loss", "feature.loss"))
    assert all(each.grad.isfinite().all() for each in model.student.parameters())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_masks_that_keep_everything_change_nothing(build, batch, name, kind):
    fields = {"method": {"name": name, **METHODS[name]}, "im": {"labels": "own"}}
    plain = losses_of(build(kind, **fields), batch(kind))
    masked = losses_of(build(kind, **fields), keep_everything(batch(kind)))
    assert masked.pop("inconsistent") == 0
    assert masked == plain
