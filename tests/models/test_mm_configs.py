"""The configs that MMSegmentation's users start from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

BASE = Path(__file__).parents[2] / "mm_configs" / "_base_"


@pytest.mark.parametrize(("kind", "outputs"), [("binary", 1), ("multiclass", 9), ("multilabel", 3)])
def test_the_unet_is_built_in_any_label_space(kind: str, outputs: int) -> None:
    config = Config.fromfile(BASE / "models" / "unet_1x1.py")
    config.merge_from_dict({"model.label_space": {"kind": kind, "outputs": outputs}})
    model = MODELS.build(config.model).eval()
    with torch.inference_mode():
        assert model.probabilities(torch.rand(2, 3, 32, 48)).shape == (2, outputs, 32, 48)
