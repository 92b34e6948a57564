"""Mixed precision without loss scaling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Let a model compute in bfloat16 where that is safe; its weights stay float32.

    In contrast to MMEngine's ``AmpOptimWrapper`` it runs on CPUs too, and nothing is scaled:
    bfloat16 has the range of float32, and a scaler would wait for the device in every step.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Compute in bfloat16, and do what the base class does for accumulated gradients."""
        device: Any = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield
