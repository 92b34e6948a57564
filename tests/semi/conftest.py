from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmseg.registry import MODELS

import im_bench.models.unet
import im_bench.semi.preprocessor  # noqa: F401 - registers what configs name
from im_bench.training.semi_supervised import SemiSupervisedSegmentor

OUTPUTS = {"binary": 1, "multiclass": 4, "multilabel": 3}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def build() -> Callable[..., SemiSupervisedSegmentor]:
    """Build a tiny U-Net that a method trains."""

    def make(kind: str = "multiclass", method: Any = "fixmatch", **fields: Any) -> Any:
        torch.manual_seed(0)
        method = {"name": method} if isinstance(method, str) else method
        model = MODELS.build(
            {
                "type": "SemiSupervisedSegmentor",
                "segmentor": {
                    "type": "LabelSpaceSegmentor",
                    "backbone": {"type": "UNet1x1", "width": 0.25},
                    "decode_head": {"type": "UNet1x1Head", "width": 0.25},
                    "label_space": {"kind": kind, "outputs": OUTPUTS[kind]},
                },
                "method": method,
                "data_preprocessor": {"type": "SemiPreprocessor", "flip": True},
                **fields,
            }
        )
        model.init_weights()
        return model

    return make


@pytest.fixture
def batch() -> Callable[..., dict[str, Any]]:
    """Make a raw batch of random images."""

    def make(kind: str = "multiclass", count: int = 2, masks: bool = False) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(1)

        def integers(high: int, *shape: int) -> torch.Tensor:
            return torch.randint(high, (count, *shape), generator=generator, dtype=torch.uint8)

        values = {"binary": 2, "multiclass": 4, "multilabel": 8}[kind]
        samples: dict[str, Any] = {"labelled": integers(values, 32, 32)}
        for branch in ("unlabelled", "partner"):
            samples[branch] = {"valid": torch.ones(count, 32, 32, dtype=torch.bool)}
            if masks:
                samples[branch]["consensus"] = integers(values, 32, 32)
                samples[branch]["inconsistent"] = integers(2, 32, 32).bool()
        images = {
            branch: integers(255, 32, 32, 3) for branch in ("labelled", "unlabelled", "partner")
        }
        return {"inputs": images, "data_samples": samples}

    return make
