"""What every method promises."""

from __future__ import annotations

import pytest
from online_methods import UNLABELLED, teaching

from .steps import keep_everything, losses_of, total

KINDS = ["binary", "multiclass", "multilabel"]


@pytest.mark.parametrize("name", UNLABELLED)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masks", [False, True])
def test_step_gives_finite_losses_and_gradients(build, batch, name, kind, masks):
    model = build(kind, {"name": name, **teaching(name)})
    found = losses_of(model, batch(kind, masks=masks))
    total(found).backward()
    assert total(found).isfinite()
    assert all(loss > 0 for key, loss in found.items() if key in ("strong.loss", "feature.loss"))
    assert all(each.grad.isfinite().all() for each in model.student.parameters())


@pytest.mark.parametrize("name", UNLABELLED)
@pytest.mark.parametrize("kind", KINDS)
def test_masks_that_keep_everything_change_nothing(build, batch, name, kind):
    fields = {"method": {"name": name, **teaching(name)}, "im": {"labels": "own"}}
    plain = losses_of(build(kind, **fields), batch(kind))
    masked = losses_of(build(kind, **fields), keep_everything(batch(kind)))
    assert masked.pop("inconsistent") == 0
    assert masked == plain
